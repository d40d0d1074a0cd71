package specfile

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

// fields says what each field of a mapping does with its value.
type fields map[string]func(path string, n ast.Node)

func (f *reader) spec(n ast.Node) (s vm.Spec) {
	f.object("", n, fields{
		"name":      text(f, &s.Name),
		"cpus":      nonzero(f, &s.CPUs, f.integer, "1", ""),
		"memory":    nonzero(f, &s.Memory, f.size, vm.MinMemory.String(), ""),
		"boot":      f.boot(&s.Boot),
		"disks":     list(f, &s.Disks, f.disk),
		"networks":  list(f, &s.Networks, f.network),
		"restart":   f.restart(&s.Restart),
		"autostart": f.autostart(&s.Autostart),
		"health":    list(f, &s.Health, f.probe(&s.Start)),
		"start":     f.mapping(fields{"timeout": nonzero(f, &s.Start.Timeout, f.duration, leastWait, "")}),
		"stop": f.mapping(fields{
			"method": text(f, &s.Stop.Method), "timeout": nonzero(f, &s.Stop.Timeout, f.duration, leastWait, killNow),
		}),
		"resources": f.mapping(fields{
			"cpuWeight": nonzero(f, &s.Resources.CPUWeight, f.integer, "1", ""),
			"cpuQuota":  f.percent(&s.Resources.CPUQuota), // 0: no limit
			"ioWeight":  nonzero(f, &s.Resources.IOWeight, f.integer, "1", ""),
		}),
		"reclaim":  f.reclaim(&s.Reclaim),
		"remedies": list(f, &s.Remedies, f.rung),
		"dump":     f.dump(&s.Dump),
		"seed":     f.seed(&s.Seed),
	})
	return s
}

func (f *reader) boot(b *vm.Boot) func(string, ast.Node) {
	return f.mapping(fields{
		"image":   text(f, &b.Image),
		"kernel":  f.path(&b.Kernel),
		"initrd":  f.path(&b.Initrd),
		"cmdline": text(f, &b.Cmdline),
		"disk":    f.path(&b.Disk),
		"runner":  f.path(&b.Runner),
		"flake":   f.flake(&b.Flake),
	})
}

func (f *reader) disk(path string, n ast.Node) (d vm.Disk) {
	f.object(path, n, fields{
		"name":     text(f, &d.Name),
		"size":     nonzero(f, &d.Size, f.size, vm.MiB.String(), "size: 1GiB, or path: FILE alone"),
		"path":     f.path(&d.Path),
		"readOnly": f.truth(&d.ReadOnly),
	})
	return d
}

// network takes the short form "user" too.
func (f *reader) network(path string, n ast.Node) (w vm.Network) {
	if word, ok := n.(*ast.StringNode); ok {
		if text(f, &w.Mode)(path, n); w.Mode != vm.NetworkUser {
			f.fail(placeOf(firstToken(n)), "user, or {bridge: br0}", "%s is %s, the only short form is user", path, cut(word.Value))
		}
		return w
	}
	f.object(path, n, fields{
		"mode":   text(f, &w.Mode),
		"mac":    text(f, &w.MAC),
		"bridge": text(f, &w.Bridge),
		"mtu":    nonzero(f, &w.MTU, f.integer, strconv.Itoa(vm.MinMTU), bridgeMTU),
	})
	return w
}

func (f *reader) restart(r *vm.Restart) func(string, ast.Node) {
	return f.mapping(fields{
		"policy": text(f, &r.Policy),
		"delay":  f.delay(&r.Delay),
		"delays": list(f, &r.Delays, func(path string, n ast.Node) (d time.Duration) {
			f.duration(&d)(path, n)
			return d
		}),
		"budget": f.mapping(fields{
			"attempts": nonzero(f, &r.Budget.Attempts, f.integer, "1", noRestart),
			"window":   nonzero(f, &r.Budget.Window, f.duration, leastWait, ""),
		}),
		"resetAfter": nonzero(f, &r.ResetAfter, f.duration, leastWait, ""),
	})
}

func (f *reader) autostart(a *vm.Autostart) func(string, ast.Node) {
	return f.mapping(fields{
		"policy":    text(f, &a.Policy),
		"priority":  f.integer(&a.Priority),
		"dependsOn": list(f, &a.DependsOn, f.dependency),
	})
}

// dependency takes the name of a VM alone too.
func (f *reader) dependency(path string, n ast.Node) (d vm.Dependency) {
	if _, ok := n.(*ast.StringNode); ok {
		text(f, &d.VM)(path, n)
		return d
	}
	f.object(path, n, fields{"vm": text(f, &d.VM), "is": text(f, &d.Is), "timeout": nonzero(f, &d.Timeout, f.duration, leastWait, "leave that VM out of dependsOn, or set timeout to 10ms or more")})
	return d
}

// path is a file or folder; a relative one starts at the folder of the spec file.
func (f *reader) path(to *string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if text(f, to)(path, n); *to != "" && !filepath.IsAbs(*to) {
			*to = filepath.Join(f.folder, *to)
		}
	}
}

// flake is a flake reference; one that is a relative path starts where path does.
func (f *reader) flake(to *string) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		text(f, to)(path, n)
		*to = Flake(f.folder, *to)
	}
}

// Flake lets a flake reference that is a relative path, such as ".#web" or
// "path:../vms", start at folder instead of where the daemon stands. All others
// are left as they are: "vms" alone is a name in nix's registry.
func Flake(folder, ref string) string {
	scheme, rest := "", ref
	if after, ok := strings.CutPrefix(ref, "path:"); ok {
		scheme, rest = "path:", after
	}
	file, more := rest, ""
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		file, more = rest[:i], rest[i:]
	}
	if file != "." && file != ".." && !strings.HasPrefix(file, "./") && !strings.HasPrefix(file, "../") {
		return ref
	}
	return scheme + filepath.Join(folder, file) + more
}

func (f *reader) mapping(known fields) func(string, ast.Node) {
	return func(path string, n ast.Node) { f.object(path, n, known) }
}

func list[T any](f *reader, to *[]T, item func(string, ast.Node) T) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if n.Type() == ast.NullType {
			return
		}
		seq, ok := n.(*ast.SequenceNode)
		if !ok {
			try := "- …"
			if word := plainWord(n); word != "" {
				try = "[" + word + "]"
			}
			f.fail(placeOf(firstToken(n)), try, "%s is a list, this is %s", path, kind(n))
			return
		}
		for i, v := range seq.Values {
			at := fmt.Sprintf("%s[%d]", path, i)
			f.places[at] = placeOf(firstToken(v))
			if *to = append(*to, item(at, v)); f.problem != nil {
				return
			}
		}
	}
}

// object gives each field of a mapping to the one that knows it.
func (f *reader) object(path string, n ast.Node, known fields) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return
	default:
		f.fail(placeOf(firstToken(n)), instead(path, n), "%s is a mapping, this is %s", or(path, "a VM"), kind(n))
		return
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		key, at := keyText(v.Key), placeOf(v.Key.GetToken())
		set, ok := known[key]
		full := key
		if path != "" {
			full = path + "." + key
		}
		switch {
		case seen[key]:
			f.fail(at, "leave one of them", "%s is here twice", full)
		case ok:
			seen[key] = true
			f.places[full] = at
			set(full, v.Value)
		default:
			f.unknown(at, key, path, known)
		}
		if f.problem != nil {
			return
		}
	}
}

// plainWord is a text that needs no quotes, or nothing.
func plainWord(n ast.Node) string {
	if word := short(n); !strings.ContainsAny(word, " {}[],:#\"'\n") {
		return word
	}
	return ""
}

// instead is the mapping that a person meant who wrote the word of its main field alone.
func instead(path string, n ast.Node) string {
	word := plainWord(n)
	switch {
	case word == "":
		return "field: value"
	case strings.HasPrefix(path, "remedies["):
		return "{do: " + word + "}"
	case strings.HasPrefix(path, "health[") && strings.HasSuffix(path, "]"):
		return "{type: " + word + "}"
	case path == "restart", path == "autostart":
		return path + ": {policy: " + word + "}"
	case path == "boot":
		return "boot: {image: builtin}"
	case path == "dump":
		return "dump: {on: [" + word + "]}"
	case path == "start", path == "stop":
		return path + ": {timeout: " + word + "}"
	}
	return "field: value"
}

func (f *reader) unknown(at place, key, path string, known fields) {
	meant, try := suggest(key, path, known)
	if meant != "" {
		meant = ", did you mean " + meant + "?"
	}
	f.fail(at, try, "unknown field %s%s%s", cut(key), inside(path), meant)
}

func keyText(k ast.MapKeyNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	return k.GetToken().Value
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
