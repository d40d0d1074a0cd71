package vm

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a health check.
const (
	MaxChecks   = 8
	MaxPattern  = 512 // bytes; RE2 runs in linear time, this bounds its program
	MaxSend     = 256 // bytes; a console takes it at 11 KiB/s
	MaxHeaders  = 16
	MaxHeader   = 1023 // bytes of a header's value
	MaxCommand  = 32   // arguments
	MaxArgument = 1023 // bytes
	MaxComm     = 15   // bytes; Linux keeps no more of a process's name
	MaxAtLeast  = 10000
)

func (s Spec) checkHealth() *Refusal {
	if r := between("the number of health checks", len(s.Health), 0, MaxChecks); r != nil {
		return r
	}
	for i, c := range s.Health {
		f := fmt.Sprintf("health[%d]", i)
		if r := c.check(f); r != nil {
			return r
		}
		if slices.ContainsFunc(s.Health[:i], func(o Check) bool { return o.Name == c.Name }) {
			return invalid("give each check a name of its own", "%s.name %q is taken by another check", f, c.Name)
		}
	}
	return nil
}

// checkStartPeriods refuses what could never answer in time. It looks at a start
// timeout that is itself within bounds.
func (s Spec) checkStartPeriods() *Refusal {
	for i, c := range s.Health {
		if c.Critical() && c.StartPeriod > 0 && c.StartPeriod >= s.Start.Timeout {
			f := fmt.Sprintf("health[%d].startPeriod", i)
			return invalid("a shorter startPeriod, or a longer start.timeout", "%s is %s, so start.timeout (%s) ends each start before the check is asked", f, Span(c.StartPeriod), Span(s.Start.Timeout))
		}
	}
	return nil
}

func (c Check) check(f string) *Refusal {
	if r := oneOf(f+".type", c.Type, CheckTypes()...); r != nil {
		return r
	}
	if len(c.Name) > MaxName || !namePattern.MatchString(c.Name) {
		return invalid("name: web", "%s.name is %q, allowed are up to %d of a-z, 0-9 and inner dashes", f, cut(c.Name), MaxName)
	}
	if r := c.onlyItsOwn(f); r != nil {
		return r
	}
	if r := firstRefusal(
		oneOf(f+".role", c.Role, RoleLiveness, RoleStartup, RoleReadiness),
		between(f+".interval", c.Interval, minWait, maxWait),
		between(f+".timeout", c.Timeout, minWait, maxWait), // a round that outlasts the interval is followed by the next at once
		between(f+".failures", c.Failures, 1, 100),
		between(f+".successes", c.Successes, 1, 100),
		between(f+".startPeriod", c.StartPeriod, 0, maxWait),
	); r != nil {
		return r
	}
	if c.Role == RoleStartup && c.Successes != 1 {
		return invalid("leave successes out", "%s.successes is %d, but a startup check is over once it has passed", f, c.Successes)
	}
	return c.checkOwn(f)
}

// CheckTypes returns every type.
func CheckTypes() []CheckType {
	return []CheckType{CheckAgent, CheckConsole, CheckVMM, CheckProcess, CheckTCP, CheckHTTP, CheckExec, CheckGuestProcess}
}

// ownField is a field of a check that only one type takes.
type ownField struct {
	name  string
	of    CheckType
	given bool
}

func (c Check) ownFields() []ownField {
	return []ownField{
		{"healthy", CheckConsole, c.Healthy != ""},
		{"unhealthy", CheckConsole, c.Unhealthy != ""},
		{"every", CheckConsole, c.Every != 0},
		{"send", CheckConsole, c.Send != ""},
		{"address", CheckTCP, c.Address != ""},
		{"url", CheckHTTP, c.URL != ""},
		{"headers", CheckHTTP, len(c.Headers) > 0},
		{"status", CheckHTTP, c.Status != ""},
		{"body", CheckHTTP, c.Body != ""},
		{"command", CheckExec, len(c.Command) > 0},
		{"exit", CheckExec, c.Exit != 0},
		{"process", CheckGuestProcess, c.Process != ""},
		{"atLeast", CheckGuestProcess, c.AtLeast != 0},
	}
}

// onlyItsOwn refuses a field that the type doesn't know: what it says would
// never be looked at.
func (c Check) onlyItsOwn(f string) *Refusal {
	var takes []string
	for _, o := range c.ownFields() {
		if o.of == c.Type {
			takes = append(takes, o.name)
		}
	}
	for _, o := range c.ownFields() {
		if !o.given || o.of == c.Type {
			continue
		}
		try := fmt.Sprintf("leave it out, or type: %s", o.of)
		if len(takes) > 0 {
			try = fmt.Sprintf("%s; a check of type %s takes %s", try, c.Type, strings.Join(takes, ", "))
		}
		return invalid(try, "%s.%s is for a check of type %s, this one is of type %s", f, o.name, o.of, c.Type)
	}
	return nil
}

// checkOwn looks at the fields of its type alone.
func (c Check) checkOwn(f string) *Refusal {
	switch c.Type {
	case CheckConsole:
		return c.checkConsole(f)
	case CheckTCP:
		return c.checkTCP(f + ".address")
	case CheckHTTP:
		return c.checkHTTP(f)
	case CheckExec:
		return c.checkExec(f)
	case CheckGuestProcess:
		return c.checkGuestProcess(f)
	case CheckProcess, CheckVMM, CheckAgent:
	}
	return nil
}

func (c Check) checkConsole(f string) *Refusal {
	if r := firstRefusal(pattern(f+".healthy", c.Healthy), pattern(f+".unhealthy", c.Unhealthy)); r != nil {
		return r
	}
	switch {
	case c.Healthy == "" && c.Unhealthy == "":
		return invalid("healthy: 'login:'", "%s looks for nothing: a console check needs healthy or unhealthy", f)
	case c.Healthy == c.Unhealthy:
		return invalid("leave one of them out", "%s.healthy and unhealthy are both %q, and no text is both", f, cut(c.Healthy))
	case c.Role == RoleStartup && c.Every != 0:
		return invalid("leave every out, or role: liveness", "%s.every is %s, but a startup check is over once it has passed", f, Span(c.Every))
	case c.Healthy == "" && c.Every != 0:
		return invalid("healthy: with what has to come again and again", "%s.every needs healthy", f)
	case c.Healthy == "" && c.Send != "":
		return invalid("healthy: with what the guest answers", "%s.send needs healthy", f)
	case c.Every != 0 && c.Send != "":
		return invalid("leave every out: what is sent is answered within timeout, each interval", "%s has both every and send", f)
	case c.Every != 0 && (c.Every < minWait || c.Every > maxWait):
		return between(f+".every", c.Every, minWait, maxWait)
	case len(c.Send) > MaxSend:
		return invalid("send a shorter text", "%s.send has %d bytes, at most %d are allowed", f, len(c.Send), MaxSend)
	case !typed(c.Send):
		return invalid("send: status", "%s.send is %q, allowed is text that a keyboard types", f, cut(c.Send))
	case c.Send != "" && regexp.MustCompile(c.Healthy).MatchString(c.Send):
		return invalid("look for what the guest answers, and not for what is typed", "%s.healthy is %q, which matches send already: consoles echo what is typed", f, cut(c.Healthy))
	}
	return nil
}

// typed says whether a text is what a terminal sends: text, Enter, Tab, Escape
// and Ctrl with a letter.
func typed(s string) bool {
	strange := func(r rune) bool { return r == 0 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }
	return utf8.ValidString(s) && !strings.ContainsFunc(s, strange)
}

func (c Check) checkTCP(f string) *Refusal {
	if r := firstRefusal(plain(f, c.Address)); r != nil {
		return r
	}
	to, err := netip.ParseAddrPort(c.Address)
	if err != nil || to.Port() == 0 || !guestIP(to.Addr()) {
		return invalid("address: 10.0.0.5:22", "%s is %q, allowed is IP:PORT: names aren't resolved, as a name server that hangs would be this guest's failure", f, cut(c.Address))
	}
	return nil
}

// guestIP says whether one machine alone can answer at an address.
func guestIP(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && (a.Zone() == "" || IsLinkName(a.Zone()))
}

func (c Check) checkHTTP(f string) *Refusal {
	if r := firstRefusal(plain(f+".url", c.URL), pattern(f+".body", c.Body), c.checkURL(f+".url"), c.checkHeaders(f+".headers")); r != nil {
		return r
	}
	if _, _, ok := c.Statuses(); !ok {
		return invalid("status: 200-399", "%s.status is %q, allowed is one status from 100 to 599, or two with a dash between", f, cut(c.Status))
	}
	return nil
}

func (c Check) checkURL(f string) *Refusal {
	const try = "url: http://10.0.0.5:8080/health"
	to, err := url.Parse(c.URL)
	switch {
	case len(c.URL) > MaxPath:
		return invalid("shorten it", "%s has %d bytes, at most %d are allowed", f, len(c.URL), MaxPath)
	case err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Opaque != "" || to.Host == "":
		return invalid(try, "%s is %q, allowed is http:// or https://, with a host", f, cut(c.URL))
	case to.User != nil:
		return invalid("headers: {Authorization: Basic …}", "%s has a user in it", f)
	case to.Fragment != "":
		return invalid("leave # and the rest out", "%s is %q, and no server is told what comes after #", f, cut(c.URL))
	}
	if ip, err := netip.ParseAddr(to.Hostname()); to.Hostname() != "localhost" && (err != nil || !guestIP(ip)) {
		return invalid(try, "%s is %q, its host has to be an IP or localhost: names aren't resolved, as a name server that hangs would be this guest's failure", f, cut(c.URL))
	}
	if port, err := strconv.Atoi(to.Port()); strings.HasSuffix(to.Host, ":") || to.Port() != "" && (err != nil || port < 1 || port > 65535) {
		return invalid(try, "%s is %q, allowed are ports from 1 to 65535", f, cut(c.URL))
	}
	return nil
}

var (
	headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$") // RFC 9110's token
	ourHeaders = []string{"connection", "content-length", "expect", "trailer", "transfer-encoding", "upgrade"}
)

func (c Check) checkHeaders(f string) *Refusal {
	if r := between("the number of "+f, len(c.Headers), 0, MaxHeaders); r != nil {
		return r
	}
	for i, h := range c.Headers {
		low := strings.ToLower(h.Name)
		switch {
		case !headerName.MatchString(h.Name):
			return invalid("headers: {Host: web.example}", "%s: %q is no name of a header", f, cut(h.Name))
		case slices.Contains(ourHeaders, low):
			return invalid("leave it out", "%s.%s is set by the probe itself", f, h.Name)
		case slices.ContainsFunc(c.Headers[:i], func(o Header) bool { return strings.ToLower(o.Name) == low }):
			return invalid("keep one of them", "%s.%s is there twice", f, h.Name)
		case len(h.Value) > MaxHeader:
			return invalid("shorten it", "%s.%s has %d bytes, at most %d are allowed", f, h.Name, len(h.Value), MaxHeader)
		}
		if r := plain(f+"."+h.Name, h.Value); r != nil {
			return r
		}
	}
	return nil
}

func (c Check) checkExec(f string) *Refusal {
	f, exit := f+".command", f+".exit"
	if len(c.Command) == 0 || c.Command[0] == "" {
		return invalid("command: [systemctl, is-system-running]", "%s names no command", f)
	}
	if len(c.Command) > MaxCommand {
		return invalid("command: [/usr/local/bin/healthy], with the rest in it", "%s has %d arguments, at most %d are allowed", f, len(c.Command), MaxCommand)
	}
	for i, word := range c.Command {
		if len(word) > MaxArgument {
			return invalid("put it into a file in the guest", "%s[%d] has %d bytes, at most %d are allowed", f, i, len(word), MaxArgument)
		}
		if r := plain(fmt.Sprintf("%s[%d]", f, i), word); r != nil {
			return r
		}
	}
	return between(exit, c.Exit, 0, 255)
}

func (c Check) checkGuestProcess(f string) *Refusal {
	field := f + ".process"
	switch {
	case c.Process == "":
		return invalid("process: nginx", "%s is empty", field)
	case strings.HasPrefix(c.Process, "/"):
		return invalid("process: "+cut(c.Process[strings.LastIndexByte(c.Process, '/')+1:]), "%s is %q, allowed is the name alone", field, cut(c.Process))
	case len(c.Process) > MaxComm:
		return invalid("process: "+quoted(strings.ToValidUTF8(c.Process[:MaxComm], "")), "%s is %q, but Linux keeps %d bytes of a name", field, cut(c.Process), MaxComm)
	}
	return firstRefusal(plain(field, c.Process), between(f+".atLeast", c.AtLeast, 1, MaxAtLeast))
}

func pattern(field, s string) *Refusal {
	if s == "" {
		return nil
	}
	if len(s) > MaxPattern {
		return invalid("look for a shorter text", "%s has %d bytes, at most %d are allowed", field, len(s), MaxPattern)
	}
	if r := plain(field, s); r != nil {
		return r
	}
	re, err := regexp.Compile(s)
	switch {
	case err != nil:
		return invalid("see https://pkg.go.dev/regexp/syntax", "%s is no regular expression: %v", field, err)
	case re.MatchString(""):
		return invalid("look for a text, such as login:", "%s is %q, which matches an empty text already", field, cut(s))
	}
	return nil
}

// filledChecks gives each check its name: what is named keeps it, and the
// others are called by their type, the second of one type-2.
func filledChecks(in []Check, image string) []Check {
	out := slices.Clone(in)
	if len(out) == 0 && image == Image {
		out = []Check{{Type: CheckAgent}}
	}
	taken := map[string]bool{"": true}
	for _, c := range out {
		taken[c.Name] = true
	}
	for i := range out {
		c := &out[i]
		for n, name := 1, string(c.Type); c.Name == ""; n++ {
			if n > 1 {
				name = fmt.Sprintf("%s-%d", c.Type, n)
			}
			if !taken[name] {
				c.Name, taken[name] = name, true
			}
		}
		fill(&c.Role, RoleLiveness)
		fill(&c.Interval, defaultInterval)
		fill(&c.Timeout, defaultTimeout)
		fill(&c.Failures, defaultFailures)
		fill(&c.Successes, defaultSuccesses)
		if c.Type == CheckHTTP {
			fill(&c.Status, defaultStatus)
		}
		if c.Type == CheckGuestProcess {
			fill(&c.AtLeast, 1)
		}
		c.Headers, c.Command = slices.Clone(c.Headers), slices.Clone(c.Command)
	}
	return out
}

// The kubelet's defaults of a probe, and what it takes for a good answer.
const (
	defaultInterval  = 10 * time.Second
	defaultTimeout   = time.Second
	defaultFailures  = 3
	defaultSuccesses = 1
	defaultStatus    = "200-399"
)
