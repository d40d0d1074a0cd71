package specfile

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update", false, "write testdata/problems.txt anew; then read the diff")

// TestProblemsAreToldInOneHelpfulLine plays testdata/problems.txt: each file
// stands between "=== " and "--- ", and then what is said of it.
func TestProblemsAreToldInOneHelpfulLine(t *testing.T) {
	const golden = "testdata/problems.txt"
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for part := range strings.SplitSeq(strings.TrimPrefix(string(text), "=== web.yaml\n"), "=== web.yaml\n") {
		file, _, _ := strings.Cut(part, "--- ")
		_, err := Parse(strings.NewReader(file), "web.yaml")
		fmt.Fprintf(&out, "=== web.yaml\n%s--- %v\n", file, err)
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("no problem, or more than a line, is said of\n%s%v", file, err)
		}
	}
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != string(text) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", golden, out.String())
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	specs, err := Parse(strings.NewReader(wholeFile), "/etc/vms/web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := vm.Spec{
		Name: "web", CPUs: 2, Memory: 256 * vm.MiB,
		Boot:     vm.Boot{Kernel: "/boot/vmlinuz", Initrd: "/etc/vms/initrd", Cmdline: "quiet panic=1"},
		Disks:    []vm.Disk{{Name: "data", Size: vm.GiB + vm.GiB/2}, {Name: "old", Path: "/srv/old.qcow2", ReadOnly: true}},
		Networks: []vm.Network{{Mode: "user"}, {Mode: "user", MAC: "52:54:00:12:34:56"}, {Bridge: "br0", MAC: "auto", MTU: 1400}},
		Restart: vm.Restart{
			Policy: vm.RestartAlways, Delay: vm.Delay{Initial: 2 * time.Second, Factor: 1.5, Max: time.Minute, Jitter: 0.2},
			Delays: []time.Duration{0, 5 * time.Second}, Budget: vm.Budget{Attempts: 7, Window: time.Hour}, ResetAfter: 20 * time.Minute,
		},
		Autostart: vm.Autostart{Policy: "always", Priority: 10, DependsOn: []vm.Dependency{
			{VM: "db", Is: "healthy", Timeout: 2 * time.Minute}, {VM: "queue"}, {VM: "1"},
		}},
		Health: []vm.Check{
			{Type: vm.CheckAgent, Interval: 5 * time.Second, Timeout: 2 * time.Second, Failures: 4, Successes: 2},
			{Type: vm.CheckConsole, Healthy: "login:", Unhealthy: "Kernel panic"},
			{Type: vm.CheckConsole, Name: "shell", Healthy: "^42$", Send: "expr 6 '*' 7\n", Role: vm.RoleStartup, StartPeriod: 20 * time.Second},
			{Type: vm.CheckConsole, Name: "beat", Healthy: "beat", Every: time.Minute},
			{Type: vm.CheckTCP, Address: "[fd00::5]:22"},
			{
				Type: vm.CheckHTTP, URL: "https://10.0.0.5/health", Role: vm.RoleReadiness, Status: "204", Body: "ok",
				Headers: []vm.Header{{Name: "Host", Value: "web.example"}, {Name: "Accept", Value: "text/plain"}},
			},
			{Type: vm.CheckExec, Command: []string{"sh", "-c", "test -e /run/ready"}, Exit: 3},
			{Type: vm.CheckGuestProcess, Process: "nginx", AtLeast: 2},
		},
		Remedies: []vm.Rung{
			{Do: vm.RemedyHold, For: []vm.Cause{vm.CauseIOError}},
			{Do: vm.RemedyReset, Times: 2, For: []vm.Cause{vm.CauseHealthFailed, vm.CauseGuestPanic}},
			{Do: vm.RemedyRestart, Times: 1},
			{Do: vm.RemedyKill},
		},
		Dump: vm.Dump{On: []vm.Cause{vm.CauseGuestPanic}, Format: vm.DumpELF, Timeout: time.Minute, Core: true},
		Seed: vm.Seed{
			Hostname: "web-1", SSHKeys: []string{"ssh-ed25519 AAAAC3Nz me@laptop"},
			UserData: "#cloud-config\npackages:\n  - nginx\n", Network: "version: 2\n",
		},
		Start:     vm.Start{Timeout: time.Minute},
		Stop:      vm.Stop{Method: "acpi", Timeout: 10 * time.Second},
		Resources: vm.Resources{CPUWeight: 50, CPUQuota: 150, IOWeight: 20},
		Reclaim: vm.Reclaim{
			Steps: []vm.ReclaimStep{{Do: vm.ReclaimBalloon, After: 10 * time.Minute}, {Do: vm.ReclaimSuspend, After: time.Hour}},
			Keep:  60, Idle: vm.Idle{CPU: 1.5, Packets: 20, IO: 32 * vm.KiB},
		},
	}
	if len(specs) != 4 || !reflect.DeepEqual(specs[0], want) {
		t.Errorf("got  %+v\nwant %+v", specs[0], want)
	}
	if specs[1].Name != "json" || specs[1].CPUs != 2 {
		t.Errorf("the second document: %+v", specs[1])
	}
	if specs[2].Boot != (vm.Boot{Runner: "/etc/vms/result"}) || specs[3].Boot != (vm.Boot{Flake: "/etc/vms/flake#web"}) {
		t.Errorf("boot of a runner and of a flake: %+v, %+v", specs[2].Boot, specs[3].Boot)
	}
}

const wholeFile = `# a whole spec
name: web
cpus: 2
memory: 256MiB
boot: {kernel: /boot/vmlinuz, initrd: initrd, cmdline: quiet panic=1}
disks:
  - {name: data, size: 1.5GiB}
  - name: old
    path: /srv/old.qcow2
    readOnly: true
networks:
  - user
  - {mode: user, mac: '52:54:00:12:34:56'}
  - {bridge: br0, mac: auto, mtu: 1400}
restart:
  policy: always
  delay: {initial: 2s, factor: 1.5, max: 1m, jitter: 0.2}
  delays: [0, 5s]
  budget: {attempts: 7, window: 1h}
  resetAfter: 20m
autostart:
  policy: always
  priority: 10
  dependsOn: [{vm: db, is: healthy, timeout: 2m}, queue, '1']
health:
  - {type: guest-agent, interval: 5s, timeout: 2s, failures: 4, successes: 2}
  - {type: console, healthy: 'login:', unhealthy: 'Kernel panic', startup: 60s}
  - {type: console, name: shell, healthy: '^42$', send: "expr 6 '*' 7\n", role: startup, startPeriod: 20s}
  - {type: console, name: beat, healthy: beat, every: 1m}
  - {type: tcp, address: '[fd00::5]:22'}
  - type: http
    url: https://10.0.0.5/health
    role: readiness
    headers: {Host: web.example, Accept: text/plain}
    status: 204
    body: ok
  - {type: exec, command: [sh, -c, test -e /run/ready], exit: 3}
  - {type: guest-process, process: nginx, atLeast: 2}
remedies:
  - {do: hold, for: [io-error]}
  - {do: reset, times: 2, for: [health-failed, guest-panic]}
  - {do: restart, times: 1}
  - {do: kill}
dump: {on: [guest-panic], format: elf, timeout: 1m, core: true}
seed:
  hostname: web-1
  sshKeys: [ssh-ed25519 AAAAC3Nz me@laptop]
  userData: |
    #cloud-config
    packages:
      - nginx
  network: |
    version: 2
stop: {method: acpi, timeout: 10s}
resources: {cpuWeight: 50, cpuQuota: 150%, ioWeight: 20}
reclaim:
  steps: [{do: balloon, after: 10m}, {do: suspend, after: 1h}]
  keep: 60
  idle: {cpu: 1.5%, packets: 20, io: 32KiB}
---
{"name": "json", "cpus": 2, "reclaim": "never"}
---
name: built
boot: {runner: ./result}
---
name: source
boot: {flake: './flake#web'}
---
`

func TestAFlakesRelativePathStartsAtTheFilesFolder(t *testing.T) {
	for ref, want := range map[string]string{
		".": "/etc/vms", ".#web": "/etc/vms#web", "./a/../b?dir=x#web": "/etc/vms/b?dir=x#web", "..": "/etc", "path:./a#b": "path:/etc/vms/a#b",
		"/srv/f#web": "/srv/f#web", "vms#web": "vms#web", "github:a/b#c": "github:a/b#c", "path:/x": "path:/x", "": "", ".git": ".git", "#web": "#web",
	} {
		if got := Flake("/etc/vms", ref); got != want {
			t.Errorf("%q became %q, want %q", ref, got, want)
		}
	}
}

func TestWhatIsFormattedIsReadAsTheSame(t *testing.T) {
	specs, err := Parse(strings.NewReader(wholeFile), "/etc/vms/web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(specs, vm.Spec{Name: "true", Boot: vm.Boot{Cmdline: "a: b # c '\"\\"}}) {
		sameAgain(t, s.Filled())
	}
}

func sameAgain(t *testing.T, s vm.Spec) {
	t.Helper()
	text, err := Format(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Parse(strings.NewReader(string(text)), "again.yaml")
	if err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	if got := again[0].Filled(); !reflect.DeepEqual(got, s) {
		t.Errorf("got  %+v\nwant %+v\nfrom\n%s", got, s, text)
	}
}

// A file that is made to exhaust us is refused, and quickly.
func TestHostileFilesAreRefused(t *testing.T) {
	const much = 1 << 19
	for name, text := range map[string]string{
		"too large":      strings.Repeat("a", MaxSize+1),
		"flow depth":     strings.Repeat("[", much),
		"mixed depth":    "name: " + strings.Repeat("{a: [", much/5),
		"dashes":         strings.Repeat("- ", much),
		"question marks": strings.Repeat("? ", much),
		"indentation":    ladder(1000),
		"laughs":         "a: &a [1,1]\nb: &b [*a,*a]\nc: &c [*b,*b]\nname: *c",
		"merge":          "a: &a {name: x}\n<<: *a",
		"tag":            "name: !!binary eA==",
		"not UTF-8":      "name: \xff",
		"a NUL":          "name: a\x00b",
		"only comments":  "# nothing\n",
		"empty":          "",
		"quotes":         "name: '" + strings.Repeat("x", much),
		"long number":    "cpus: " + strings.Repeat("9", 1000),
		"many colons":    strings.Repeat("a: ", 10000),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			specs, err := Parse(strings.NewReader(text), filepath.Join("x", "evil.yaml"))
			if err == nil {
				t.Fatalf("read as %+v", specs)
			}
			if len(err.Error()) > 400 || strings.ContainsAny(err.Error(), "\n\x00\x1b") {
				t.Errorf("the error is no short line: %.500q", err)
			}
			t.Log(time.Since(began).Round(time.Millisecond), err)
		})
	}
}

func ladder(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]vm.Bytes{
		"0": 0, "1": 1, "12B": 12, "256MiB": 256 * vm.MiB, "1.5GiB": 3 * vm.GiB / 2, "1 GiB": vm.GiB, "2kB": 2000, "1TB": 1e12,
		"256M": -1, "1.0001KiB": -1, "": -1, "MiB": -1, "-1GiB": -1, "1e9": -1, "9999999TiB": -1, "1.2.3MiB": -1, "99999999999999999999999B": -1,
	} {
		got, r := ParseSize(text)
		if want >= 0 && (r != nil || got != want) || want < 0 && r == nil {
			t.Errorf("%q: got %d, %v, want %d", text, got, r, want)
		}
	}
}

// FuzzParse: no file ends the program or comes back as something that
// Spec.Check refuses, and what is read survives Format.
func FuzzParse(f *testing.F) {
	f.Add(wholeFile)
	f.Add("name: web\nmemmory: 1GiB\n")
	f.Add("{\"name\":\"web\",\"disks\":[{\"size\":1048576}]}")
	f.Add("- ? &a *a !!str |\n  x")
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := Parse(strings.NewReader(text), "fuzz.yaml")
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("no line: %q", err)
			}
			return
		}
		for _, s := range specs {
			if err := s.Filled().Check(); err != nil {
				t.Errorf("let through: %v", err)
			}
			sameAgain(t, s.Filled())
		}
	})
}
