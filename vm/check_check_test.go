package vm_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

func checks(all ...vm.Check) func(*vm.Spec) {
	return func(s *vm.Spec) { s.Health = all }
}

func named(name string) func(*vm.Spec) { return checks(vm.Check{Type: vm.CheckVMM, Name: name}) }

func console(c vm.Check) func(*vm.Spec) {
	c.Type = vm.CheckConsole
	return checks(c)
}

func tcp(address string) func(*vm.Spec) {
	return checks(vm.Check{Type: vm.CheckTCP, Address: address})
}

func web(url string, also ...func(*vm.Check)) func(*vm.Spec) {
	c := vm.Check{Type: vm.CheckHTTP, URL: url}
	for _, change := range also {
		change(&c)
	}
	return checks(c)
}

const fine = "http://10.0.0.5/"

func header(all ...vm.Header) func(*vm.Spec) {
	return web(fine, func(c *vm.Check) { c.Headers = all })
}

func exec(words ...string) func(*vm.Spec) {
	return checks(vm.Check{Type: vm.CheckExec, Command: words})
}

func process(name string, atLeast int) func(*vm.Spec) {
	return checks(vm.Check{Type: vm.CheckGuestProcess, Process: name, AtLeast: atLeast})
}

// TestHealthRefusals writes testdata/refusals-health.txt.
func TestHealthRefusals(t *testing.T) {
	long := strings.Repeat("x", 3000)
	everything := vm.Check{
		Healthy: "a", Unhealthy: "b", Every: time.Minute, Send: "c", Address: "10.0.0.5:1", URL: fine, Headers: []vm.Header{{Name: "A", Value: "b"}},
		Status: "200", Body: "d", Command: []string{"e"}, Exit: 1, Process: "f", AtLeast: 2,
	}
	bad := []func(*vm.Spec){
		checks(vm.Check{}), checks(vm.Check{Type: "ping"}), checks(vm.Check{Type: vm.CheckType(long)}),
		named("Web"), named("-"), named("a b"), named("../x"), named(long), named("a\n"),
		checks(vm.Check{Type: vm.CheckVMM}, vm.Check{Type: vm.CheckAgent, Name: "vmm"}, vm.Check{Type: vm.CheckProcess, Name: "vmm"}),
		checks(vm.Check{Type: vm.CheckVMM, Role: "critical"}),
		checks(vm.Check{Type: vm.CheckVMM, Role: vm.RoleStartup, Successes: 2}),
		checks(vm.Check{Type: vm.CheckVMM, StartPeriod: -1}), checks(vm.Check{Type: vm.CheckVMM, StartPeriod: 25 * time.Hour}),

		checks(vm.Check{Type: vm.CheckVMM, StartPeriod: 2 * time.Minute}), checks(vm.Check{Type: vm.CheckVMM, Role: vm.RoleStartup, StartPeriod: time.Hour}),
		func(s *vm.Spec) {
			s.Health = []vm.Check{{Type: vm.CheckVMM, Role: vm.RoleReadiness}}
			s.Dump.On = []vm.Cause{vm.CauseGuestPanic, vm.CauseHealthFailed}
		},
		console(vm.Check{Healthy: "x", Unhealthy: "x"}), console(vm.Check{Healthy: "x", Role: vm.RoleStartup, Every: time.Minute}),

		console(vm.Check{Unhealthy: "x", Every: time.Minute}), console(vm.Check{Unhealthy: "x", Send: "\n"}),
		console(vm.Check{Healthy: "x", Every: time.Minute, Send: "\n"}), console(vm.Check{Healthy: "x", Every: -1}), console(vm.Check{Healthy: "x", Every: 1}),
		console(vm.Check{Healthy: "x", Send: long}), console(vm.Check{Healthy: "x", Send: "a\x00"}), console(vm.Check{Healthy: "x", Send: "\xff"}),
		console(vm.Check{Healthy: "alive", Send: "echo alive\n"}),

		tcp(""), tcp("10.0.0.5"), tcp("web.example:80"), tcp("localhost:80"), tcp("10.0.0.5:http"), tcp("10.0.0.5:0"), tcp("10.0.0.5:65536"), tcp("10.0.0.5:-1"),
		tcp("0.0.0.0:80"), tcp("[::]:80"), tcp("224.0.0.1:80"), tcp("fe80::1:80"), tcp("[fe80::1%a/b]:80"), tcp("10.0.0.5:80\n"), tcp(long), tcp("010.0.0.5:80"),

		web("10.0.0.5"), web("//10.0.0.5/"), web("ftp://10.0.0.5/"), web("file:///etc/passwd"), web("http:10.0.0.5"), web("http:///x"), web("http://"),
		web("http://web.example/"), web("http://2130706433/"), web("http://0/"), web("http://[::]/"), web("http://me:secret@10.0.0.5/"), web("http://10.0.0.5/#a"),
		web("http://10.0.0.5:0/"), web("http://10.0.0.5:70000/"), web("http://10.0.0.5:/"), web("http://10.0.0.5/\r\nHost: x"), web("http://10.0.0.5/%zz"), web("http://10.0.0.5/" + long),
		web(fine, func(c *vm.Check) { c.Body = "(" }), web(fine, func(c *vm.Check) { c.Body = ".*" }), web(fine, func(c *vm.Check) { c.Body = long }),
		header(vm.Header{Name: "", Value: "a"}), header(vm.Header{Name: "A B", Value: "a"}), header(vm.Header{Name: "A:", Value: "a"}), header(vm.Header{Name: "A\r\nB", Value: "a"}),
		header(vm.Header{Name: "A", Value: "a\r\nB: c"}), header(vm.Header{Name: "A", Value: long}), header(vm.Header{Name: long, Value: "a"}),
		header(vm.Header{Name: "A", Value: "a"}, vm.Header{Name: "a", Value: "b"}), header(make([]vm.Header, 17)...),
		header(vm.Header{Name: "content-length", Value: "5"}), header(vm.Header{Name: "Transfer-Encoding", Value: "chunked"}),

		exec(), exec(""), exec(slices.Repeat([]string{"a"}, 33)...), exec("a", long), exec("a", "b\x00"), exec("a\nb"), exec("a", "\xff"),
		checks(vm.Check{Type: vm.CheckExec, Command: []string{"a"}, Exit: -1}), checks(vm.Check{Type: vm.CheckExec, Command: []string{"a"}, Exit: 256}),

		process("", 0), process("/usr/sbin/nginx", 0), process("systemd-journald", 0), process("a\x1b[2J", 0), process("nginx", -1), process("nginx", 10001),
	}
	for _, status := range []string{"ok", "20", "2000", "-", "200-", "-200", "399-200", "200-399-500", "099", "600", "200 ", "+200", "２００", "200–399"} {
		bad = append(bad, web(fine, func(c *vm.Check) { c.Status = status }))
	}
	for _, of := range vm.CheckTypes() {
		c := everything
		c.Type = of
		bad = append(bad, checks(c))
	}
	refusals(t, bad, "refusals-health.txt")
}

// Each field that one type takes is refused by all others, by its name.
func TestEachTypeTakesOnlyItsOwnFields(t *testing.T) {
	fields := map[string]struct {
		of  vm.CheckType
		set func(*vm.Check)
	}{
		"healthy":   {vm.CheckConsole, func(c *vm.Check) { c.Healthy = "a" }},
		"unhealthy": {vm.CheckConsole, func(c *vm.Check) { c.Unhealthy = "a" }},
		"every":     {vm.CheckConsole, func(c *vm.Check) { c.Every = time.Minute }},
		"send":      {vm.CheckConsole, func(c *vm.Check) { c.Send = "a" }},
		"address":   {vm.CheckTCP, func(c *vm.Check) { c.Address = "10.0.0.5:22" }},
		"url":       {vm.CheckHTTP, func(c *vm.Check) { c.URL = fine }},
		"headers":   {vm.CheckHTTP, func(c *vm.Check) { c.Headers = []vm.Header{{Name: "A"}} }},
		"status":    {vm.CheckHTTP, func(c *vm.Check) { c.Status = "200" }},
		"body":      {vm.CheckHTTP, func(c *vm.Check) { c.Body = "a" }},
		"command":   {vm.CheckExec, func(c *vm.Check) { c.Command = []string{"a"} }},
		"exit":      {vm.CheckExec, func(c *vm.Check) { c.Exit = 1 }},
		"process":   {vm.CheckGuestProcess, func(c *vm.Check) { c.Process = "a" }},
		"atLeast":   {vm.CheckGuestProcess, func(c *vm.Check) { c.AtLeast = 1 }},
	}
	common := []string{"Name", "Type", "Role", "Interval", "Timeout", "Failures", "Successes", "StartPeriod"}
	if n := reflect.TypeFor[vm.Check]().NumField(); n != len(fields)+len(common) {
		t.Fatalf("a check has %d fields, this test knows %d", n, len(fields)+len(common))
	}
	good := map[vm.CheckType]vm.Check{
		vm.CheckConsole: {Healthy: "login:"}, vm.CheckTCP: {Address: "10.0.0.5:22"}, vm.CheckHTTP: {URL: fine},
		vm.CheckExec: {Command: []string{"true"}}, vm.CheckGuestProcess: {Process: "nginx"},
		vm.CheckAgent: {}, vm.CheckVMM: {}, vm.CheckProcess: {},
	}
	for of, c := range good {
		c.Type = of
		if err := filled(c).Check(); err != nil {
			t.Errorf("%s: %v", of, err)
		}
		for name, field := range fields {
			other := c
			if field.set(&other); field.of == of {
				continue
			}
			err := filled(other).Check()
			if want := "health[0]." + name + " is for a check of type " + string(field.of) + ", this one is of type " + string(of); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s with %s: %v", of, name, err)
			}
		}
	}
}

func filled(all ...vm.Check) vm.Spec {
	return vm.Spec{Name: "web", Health: all}.Filled()
}

func TestChecksThatAreAllowed(t *testing.T) {
	for _, c := range []vm.Check{
		{Type: vm.CheckTCP, Address: "[fd00::5]:22"},
		{Type: vm.CheckTCP, Address: "[fe80::1%br0]:22"},
		{Type: vm.CheckTCP, Address: "127.0.0.1:2222"},
		{Type: vm.CheckHTTP, URL: "http://10.0.0.5/health"},
		{Type: vm.CheckHTTP, URL: "https://[fd00::5]:8443/a?b=c"},
		{Type: vm.CheckHTTP, URL: "http://localhost:8080"},
		{Type: vm.CheckHTTP, URL: fine, Status: "204", Headers: []vm.Header{{Name: "Host", Value: "web.example"}}, Body: "^ok$"},
		{Type: vm.CheckExec, Command: []string{"sh", "-c", "test -e /run/ready && echo größe"}, Exit: 3, Role: vm.RoleReadiness, Successes: 3},
		{Type: vm.CheckGuestProcess, Process: "kworker/0:1", AtLeast: 4},
		{Type: vm.CheckGuestProcess, Process: "systemd-journal"},
		{Type: vm.CheckConsole, Healthy: "beat", Every: time.Minute},
		{Type: vm.CheckConsole, Healthy: `\$ $`, Send: "\x03\r\n"},
		{Type: vm.CheckConsole, Healthy: "^42$", Send: "expr 6 '*' 7\n"},
		{Type: vm.CheckProcess, Role: vm.RoleStartup, StartPeriod: time.Minute},
		{Type: vm.CheckProcess, Role: vm.RoleReadiness, StartPeriod: time.Hour},
	} {
		if err := filled(c).Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A guest that nothing calls sick is dumped as sick by its machine's watchdog alone.
func TestADumpOfTheSickNeedsWhoeverFindsThemSick(t *testing.T) {
	on := vm.Dump{On: []vm.Cause{vm.CauseHealthFailed}}
	for _, s := range []vm.Spec{
		{Name: "web", Dump: on},
		{Name: "web", Dump: on, Boot: vm.Boot{Disk: "/srv/web.qcow2"}},
		{Name: "web", Dump: on, Boot: vm.Boot{Runner: "/srv/runner"}},
	} {
		if err := s.Filled().Check(); err != nil {
			t.Errorf("%+v: %v", s.Boot, err)
		}
	}
	s := vm.Spec{Name: "web", Dump: on, Boot: vm.Boot{Kernel: "/boot/vmlinuz"}}
	if err := s.Filled().Check(); err == nil || !strings.HasPrefix(err.Error(), "dump.on has health-failed, but no") {
		t.Errorf("a kernel without a check: %v", err)
	}
}

func TestChecksAreNamedByTheirType(t *testing.T) {
	name := func(all ...vm.Check) (out []string) {
		for _, c := range filled(all...).Health {
			out = append(out, c.Name)
		}
		return out
	}
	web, db := vm.Check{Type: vm.CheckHTTP, URL: fine}, vm.Check{Type: vm.CheckTCP, Address: "10.0.0.5:1"}
	called := web
	called.Name = "http-2"
	first := db
	first.Name = "http"
	for _, c := range []struct{ got, want []string }{
		{name(web, db, web, web), []string{"http", "tcp", "http-2", "http-3"}},
		{name(web, web, called), []string{"http", "http-3", "http-2"}},
		{name(web, first), []string{"http-2", "http"}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
}

// Whatever a check holds, the answer is a refusal in words or a check that can be used.
func TestNoCheckBreaksItsReader(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "a", "(", "10.0.0.5:22", fine, "https://localhost:1/", "200-399", "a\x00", "[::1]:0", "http://[::1%25x]:9/"}))
	rapid.Check(t, func(t *rapid.T) {
		c := vm.Check{
			Name: text.Draw(t, "name"), Type: rapid.SampledFrom(vm.CheckTypes()).Draw(t, "type"), Healthy: text.Draw(t, "healthy"), Unhealthy: text.Draw(t, "unhealthy"),
			Send: text.Draw(t, "send"), Address: text.Draw(t, "address"), URL: text.Draw(t, "url"), Status: text.Draw(t, "status"), Body: text.Draw(t, "body"),
			Command: rapid.SliceOf(text).Draw(t, "command"), Process: text.Draw(t, "process"), Exit: rapid.Int().Draw(t, "exit"), AtLeast: rapid.Int().Draw(t, "atLeast"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			c.Headers = append(c.Headers, vm.Header{Name: text.Draw(t, "header"), Value: text.Draw(t, "value")})
		}
		c = only(c)
		s := filled(c)
		err := s.Check()
		if err != nil {
			if e := err.Error(); e == "" || len(e) > 400 || strings.ContainsAny(e, "\n\x00\x1b") {
				t.Fatalf("%q helps nobody", e)
			}
			return
		}
		if c.Type == vm.CheckHTTP {
			if low, high, ok := s.Health[0].Statuses(); !ok || low > high {
				t.Fatalf("%+v", s.Health[0])
			}
		}
	})
}

// only leaves what the type takes, half of the time: else nothing would pass.
func only(c vm.Check) vm.Check {
	out := vm.Check{Name: c.Name, Type: c.Type}
	if len(c.Name)%2 == 1 {
		return c
	}
	switch c.Type {
	case vm.CheckConsole:
		out.Healthy, out.Unhealthy, out.Send = c.Healthy, c.Unhealthy, c.Send
	case vm.CheckTCP:
		out.Address = c.Address
	case vm.CheckHTTP:
		out.URL, out.Status, out.Body, out.Headers = c.URL, c.Status, c.Body, c.Headers
	case vm.CheckExec:
		out.Command, out.Exit = c.Command, c.Exit
	case vm.CheckGuestProcess:
		out.Process, out.AtLeast = c.Process, c.AtLeast
	case vm.CheckAgent, vm.CheckVMM, vm.CheckProcess:
	}
	return out
}
