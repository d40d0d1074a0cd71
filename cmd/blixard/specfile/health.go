package specfile

import (
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

// probe reads one health check. Its startup is how long the guest may take
// until the check first passes: the start as a whole takes the longest of them.
// The type alone, as a word, is a check too.
func (f *reader) probe(start *vm.Start) func(string, ast.Node) vm.Check {
	return func(path string, n ast.Node) (c vm.Check) {
		if _, ok := n.(*ast.StringNode); ok {
			text(f, &c.Type)(path, n)
			return c
		}
		var startup time.Duration
		f.object(path, n, fields{
			"name":        text(f, &c.Name),
			"type":        text(f, &c.Type),
			"role":        text(f, &c.Role),
			"interval":    nonzero(f, &c.Interval, f.duration, leastWait, ""),
			"timeout":     nonzero(f, &c.Timeout, f.duration, leastWait, ""),
			"failures":    nonzero(f, &c.Failures, f.integer, "1", ""),
			"successes":   nonzero(f, &c.Successes, f.integer, "1", ""),
			"startPeriod": f.duration(&c.StartPeriod),
			"startup":     nonzero(f, &startup, f.duration, leastWait, ""),
			"healthy":     text(f, &c.Healthy),
			"unhealthy":   text(f, &c.Unhealthy),
			"every":       f.duration(&c.Every),
			"send":        text(f, &c.Send),
			"address":     text(f, &c.Address),
			"url":         text(f, &c.URL),
			"headers":     f.headers(&c.Headers),
			"status":      f.status(&c.Status),
			"body":        text(f, &c.Body),
			"command":     f.command(&c.Command),
			"exit":        f.integer(&c.Exit),
			"process":     text(f, &c.Process),
			"atLeast":     nonzero(f, &c.AtLeast, f.integer, "1", "leave it out: one is enough"),
		})
		if startup != 0 && c.Role == vm.RoleReadiness {
			f.fail(f.places[path+".startup"], "leave startup out, or startPeriod: how long it isn't asked", "%s.startup bounds how long a start may take, and no start waits for a readiness check", path)
		}
		start.Timeout = max(start.Timeout, startup)
		return c
	}
}

// headers is a mapping whose keys are up to the person.
func (f *reader) headers(to *[]vm.Header) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		known := fields{}
		for _, key := range keysOf(n) {
			known[key] = func(path string, n ast.Node) {
				h := vm.Header{Name: key}
				text(f, &h.Value)(path, n)
				*to = append(*to, h)
			}
		}
		f.object(path, n, known)
	}
}

func keysOf(n ast.Node) (all []string) {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			all = append(all, keyText(v.Key))
		}
	case *ast.MappingValueNode:
		all = append(all, keyText(n.Key))
	}
	return all
}

// status takes the number of one status too.
func (f *reader) status(to *string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if _, ok := whole(n); ok {
			*to = short(n)
			return
		}
		text(f, to)(path, n)
	}
}

// command takes a list of words, or one line of plain words.
func (f *reader) command(to *[]string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if line, ok := n.(*ast.StringNode); ok {
			words, r := ParseWords(line.Value)
			if r != nil {
				f.refuse(path, n, r)
			}
			*to = words
			return
		}
		list(f, to, func(path string, n ast.Node) (word string) {
			text(f, &word)(path, n)
			return word
		})(path, n)
	}
}

// ParseWords splits a line at its blanks. No shell reads it, so what only a
// shell understands is refused.
func ParseWords(line string) ([]string, *vm.Refusal) {
	if i := strings.IndexAny(line, "'\"`\\|&;<>()$*?#~\n"); i >= 0 {
		return nil, &vm.Refusal{
			Code: vm.Invalid, Why: cut(line) + " has " + cut(line[i:i+1]) + " in it, which means something to a shell, and none reads it",
			Try: "a list in a spec file, such as command: [sh, -c, 'test -e /run/ready']",
		}
	}
	return strings.Fields(line), nil
}

func checkTree(c vm.Check) yaml.MapSlice {
	m := said(said(said(nil, "name", c.Name), "type", string(c.Type)), "role", string(c.Role))
	m = append(
		m,
		yaml.MapItem{Key: "interval", Value: vm.Span(c.Interval)}, yaml.MapItem{Key: "timeout", Value: vm.Span(c.Timeout)},
		yaml.MapItem{Key: "failures", Value: c.Failures}, yaml.MapItem{Key: "successes", Value: c.Successes},
	)
	if c.StartPeriod != 0 {
		m = said(m, "startPeriod", vm.Span(c.StartPeriod))
	}
	switch c.Type {
	case vm.CheckConsole:
		m = said(said(m, "healthy", c.Healthy), "unhealthy", c.Unhealthy)
		if c.Every != 0 {
			m = said(m, "every", vm.Span(c.Every))
		}
		return said(m, "send", c.Send)
	case vm.CheckTCP:
		return said(m, "address", c.Address)
	case vm.CheckHTTP:
		m = said(m, "url", c.URL)
		var headers yaml.MapSlice
		for _, h := range c.Headers {
			headers = append(headers, yaml.MapItem{Key: h.Name, Value: written(h.Value)})
		}
		if len(headers) > 0 {
			m = append(m, yaml.MapItem{Key: "headers", Value: headers})
		}
		return said(said(m, "status", c.Status), "body", c.Body)
	case vm.CheckExec:
		return append(m, yaml.MapItem{Key: "command", Value: c.Command}, yaml.MapItem{Key: "exit", Value: c.Exit})
	case vm.CheckGuestProcess:
		return append(m, yaml.MapItem{Key: "process", Value: c.Process}, yaml.MapItem{Key: "atLeast", Value: c.AtLeast})
	case vm.CheckProcess, vm.CheckVMM, vm.CheckAgent:
	}
	return m
}
