package specfile

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// The example that the first design of the spec file was argued by.
func TestTheExampleIsReadWhole(t *testing.T) {
	text, err := os.ReadFile("testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	specs, err := Parse(strings.NewReader(string(text)), "testdata/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := specs[0].Filled()
	if len(s.Health) != 3 || s.Health[2].Role != vm.RoleReadiness || s.Health[2].Critical() || s.Health[2].Name != "http" || s.Health[2].Status != "200-399" {
		t.Errorf("%+v", s.Health)
	}
	if !s.Health[0].Critical() || s.Start.Timeout != time.Minute {
		t.Errorf("%+v, start within %s", s.Health[0], s.Start.Timeout)
	}
	sameAgain(t, s)
}

func TestCommandIsAListOrPlainWords(t *testing.T) {
	for line, want := range map[string][]string{
		"systemctl is-system-running": {"systemctl", "is-system-running"},
		" a  b\tc ":                   {"a", "b", "c"},
		"größe --x=1,2":               {"größe", "--x=1,2"},
	} {
		if got, r := ParseWords(line); r != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", line, got, r)
		}
	}
	for _, line := range []string{"a 'b c'", `a "b`, "a | b", "a && b", "a; b", "a > /dev/null", "a $HOME", "a `b`", "ls *.conf", `a\ b`, "a\nb", "(a)", "~/x"} {
		if got, r := ParseWords(line); r == nil {
			t.Errorf("%q became %q, and no shell reads it", line, got)
		}
	}
}

// What consoles are sent and what cloud-init reads comes back byte by byte.
func TestTextsSurviveTheirWayThroughAFile(t *testing.T) {
	for _, text := range []string{
		"\n", "\r", "\r\n", "\x03", "\x1b[A", "a\n", "a\n\n", "\n\na", " a", "a ", "\ta\t\n", "on", "1", "null", "~", "'", "\"", "a: b", "- a", "#a", "größe\n", "a\\n", "|", ">", "%", "@a", "&a", "*a", "!a", "{a}",
	} {
		s := vm.Spec{Name: "web", Health: []vm.Check{{Type: vm.CheckConsole, Healthy: "never seen", Send: text}}}
		sameAgain(t, s.Filled())
	}
	for _, text := range []string{
		"a", "a\n", "a\n\n\n", "\na", "  a\n", "a\r\nb\r\n", "a\tb\n", "a\n\tb\n", "users:\n  - name: me\n    shell: '/bin/sh'\n\n# end", "a: |\n  b\n  c\n", "größe\n\n", "  \n a\n", "a \nb \n", "---\na\n...\n",
	} {
		s := vm.Spec{Name: "web", Boot: vm.Boot{Disk: "/d"}, Seed: vm.Seed{UserData: "#cloud-config\n" + text, Network: text}}
		sameAgain(t, s.Filled())
	}
}

func TestACheckIsItsTypeAlone(t *testing.T) {
	specs, err := Parse(strings.NewReader("name: web\nhealth: [guest-agent, {type: vmm, interval: 5s}]\n"), "web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []vm.Check{{Type: vm.CheckAgent}, {Type: vm.CheckVMM, Interval: 5 * time.Second}}
	if got := specs[0].Health; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	sameAgain(t, specs[0].Filled())
}

func TestHeadersKeepTheirOrder(t *testing.T) {
	specs, err := Parse(strings.NewReader("name: web\nhealth:\n- type: http\n  url: http://10.0.0.5/\n  headers:\n    B: '1'\n    A: two words\n    c-d: ''\n"), "web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []vm.Header{{Name: "B", Value: "1"}, {Name: "A", Value: "two words"}, {Name: "c-d"}}
	if got := specs[0].Health[0].Headers; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	sameAgain(t, specs[0].Filled())
}
