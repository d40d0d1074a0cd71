package systemd

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update", false, "write the goldens anew")

// plain is a VMM under TCG with nothing but inherited descriptors.
func plain() host.Command {
	return host.Command{
		Ref:  vm.Ref{VM: "0123456789abcdef", Name: "web", Slot: 7, Incarnation: 3, BootID: "boot"},
		Argv: []string{"/usr/bin/qemu-system-x86_64", "-chardev", "socket,id=qmp,fd={fd:qmp}", "-kernel", "/usr/lib/blixard/vmlinux"},
		Env:  []string{"PATH=/usr/bin:/bin"}, Dir: "/run/blixard/vm/web", UID: host.FirstOwner + 7, GID: host.FirstOwner + 7,
		Sockets: []host.Socket{{Name: "qmp", Path: "/run/blixard/vm/web/qmp.sock"}}, MaxFile: 64 * vm.MiB,
		Limits: vm.Limits{Memory: 384 * vm.MiB, CPUQuota: 150, CPUWeight: 200, IOWeight: 50, Tasks: 1024},
		Needs:  host.Needs{JIT: true, Writable: []string{"/var/lib/blixard/vms/web/console-3.log"}},
	}
}

// shapes are the VMMs whose units differ.
func shapes() map[string]host.Command {
	out := map[string]host.Command{"plain": plain()}
	kvm := plain()
	kvm.Groups, kvm.Needs.JIT, kvm.Needs.Devices = []int{107}, false, []string{"/dev/kvm"}
	out["kvm"] = kvm
	user := plain()
	user.Needs.Network = true
	out["user-network"] = user
	all := kvm
	all.Needs.Network = true
	all.Needs.Writable = []string{"/var/lib/blixard/vms/web/console-3.log", "/home/ann/disk.raw"}
	out["kvm-user-network-home"] = all
	runner := all
	runner.Needs.JIT, runner.Needs.Sockets, runner.Needs.Devices = true, true, []string{"/dev/kvm", "/dev/net/tun"}
	out["runner"] = runner
	core := plain()
	core.Dir, core.MaxCore, core.MaxFile = "/var/lib/blixard/vms/web/core-3", 240*vm.MiB, vm.GiB
	core.Needs.Writable = append(core.Needs.Writable, core.Dir)
	out["core"] = core
	tmp := plain()
	tmp.Argv = append(tmp.Argv, "-initrd", "/srv/link", "-blockdev", `{"driver":"raw","filename":"/tmp/x,y.raw"}`)
	out["tmp-and-a-link-home"] = tmp
	return out
}

func propertiesOf(c host.Command, shim string) []sd.Property {
	who := proof.Identity{Node: "node", BootID: "boot"}
	return properties(order{
		command: c, argv: c.Argv, env: who.Tagged(who.Public(), c), shim: shim, before: "blixard.service", stdin: 9,
	}, func(path string) string {
		if path == "/srv/link" {
			return "/root/initrd"
		}
		return path
	})
}

func TestPropertiesOfEachShape(t *testing.T) {
	for name, c := range shapes() {
		var b strings.Builder
		for _, p := range propertiesOf(c, "/usr/bin/blixard-vmm") {
			fmt.Fprintf(&b, "%s %s\n", p.Name, p.Value)
		}
		golden := filepath.Join("testdata", name+".unit")
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s differs from its golden (-update writes it anew): %v\n%s", name, err, b.String())
		}
	}
}

func TestPathsInAnArgument(t *testing.T) {
	for word, want := range map[string]string{
		"-kernel":                               "",
		"/a/b":                                  "/a/b",
		"socket,id=a,logfile=/a/../b,server=on": "/b",
		`{"driver":"raw","filename":"/home/x"}`: "/home/x",
		"a/b=/c,/d":                             "/c /d",
		`/home/a=b/"c",/d`:                      `/home/a=b/"c",/d`,
		"file=/home/a,,b=c,size=1":              "/home/a,b=c",
		"logfile=/a=b":                          "/a=b",
		",,,/a,,":                               "/a,",
		`{"filename":"/home/a\"b,=c","o":[{"p":"/x"}]}`: `/home/a"b,=c /x`,
		`{"filename":"/home/x"`:                         "",
		"{/a":                                           "",
	} {
		got := paths(word)
		slices.Sort(got)
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// TestVerdictOfAUnit is about what systemd answers, as recorded.
func TestVerdictOfAUnit(t *testing.T) {
	for story, c := range map[string]struct {
		p     map[string]any
		dead  bool
		known bool
		code  int
		sig   int
	}{
		"one that isn't there has defaults": {map[string]any{"LoadState": "not-found", "Result": "success", "ActiveState": "inactive"}, true, false, 0, 0},
		"one that runs": {map[string]any{
			"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success",
		}, false, false, 0, 0},
		"one that is about to be started": {map[string]any{
			"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "Result": "success", "Job": []any{uint32(7), "/x"},
		}, false, false, 0, 0},
		"one that is loaded and no more": {map[string]any{
			"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "Job": []any{uint32(0), "/"},
		}, true, false, 0, 0},
		"a clean end": {map[string]any{
			"LoadState": "loaded", "ActiveState": "active", "SubState": "exited", "Result": "success", "ExecMainCode": int32(1),
		}, true, true, 0, 0},
		"an exit code": {map[string]any{
			"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code", "ExecMainCode": int32(1), "ExecMainStatus": int32(7),
		}, true, true, 7, 0},
		"a core": {map[string]any{
			"LoadState": "loaded", "ActiveState": "failed", "Result": "core-dump", "ExecMainCode": int32(3), "ExecMainStatus": int32(11),
		}, true, true, 0, 11},
		"a code of another system": {map[string]any{
			"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code", "ExecMainCode": int32(9), "CPUUsageNSec": ^uint64(0),
		}, true, false, 0, 0},
		"properties of other types": {map[string]any{
			"LoadState": 7, "ActiveState": []string{"x"}, "ExecMainCode": "1",
		}, false, false, 0, 0},
	} {
		u := read("x", c.p)
		e, known := u.exit()
		if u.dead() != c.dead || known != c.known || e.Code != c.code || e.Signal != c.sig || e.CPU < 0 {
			t.Errorf("%s: dead %v, exit %+v, %v", story, u.dead(), e, known)
		}
	}
}

func TestWhereTheShimIsLookedFor(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good"), filepath.Join(dir, "bad")
	if err := errors.Join(os.WriteFile(good, nil, 0o700), os.WriteFile(bad, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := Config{Shim: good}
	if err := c.fill(); err != nil || c.Shim != good {
		t.Errorf("%s, %v", c.Shim, err)
	}
	for _, shim := range []string{bad, dir, filepath.Join(dir, "none")} {
		c := Config{Shim: shim}
		if c.fill() == nil {
			t.Errorf("%s was taken", shim)
		}
	}
	c = Config{}
	if err := c.fill(); err == nil || !strings.Contains(err.Error(), "libexec/blixard/blixard-vmm") {
		t.Errorf("beside a test: %s, %v", c.Shim, err)
	}
}
