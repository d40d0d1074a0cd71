package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

func TestTwoCreatesAtOnceHaveOneWinner(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	const clients = 8
	spec := w.pvh("twin")
	errs := make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { _, errs[i] = w.Create(w.ctx, spec, true) })
	}
	all.Wait()
	winners := 0
	for _, err := range errs {
		if err == nil {
			winners++
			continue
		}
		w.refused(err, "exists")
	}
	if winners != 1 {
		t.Errorf("want one winner, got %d", winners)
	}
	vm := w.healthy("twin", 0)
	w.only(vm.GetPid())
}

func TestMissingKernelFailsAloud(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := w.pvh("lost")
	spec.Boot = &v1.Boot{Kernel: "/nowhere/vmlinux"}
	_, err := w.Create(w.ctx, spec, true)
	if err != nil {
		if why := w.refused(err, "invalid"); !strings.Contains(why, "/nowhere/vmlinux") {
			t.Errorf("the refusal does not name the kernel: %s", why)
		}
		return
	}
	vm := w.reaches("lost", "failed", soon)
	if vm.GetLastExit().GetCause() != "start-failed-permanent" || !strings.Contains(vm.GetReason()+vm.GetLastExit().GetEvidence(), "/nowhere/vmlinux") {
		t.Errorf("want a permanent failure that names the kernel: %v", vm)
	}
	w.up(w.pvh("calm"))
}

func TestQEMUThatIsNotInstalledFailsAloud(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{Env: []string{"PATH=/nowhere"}})
	_, err := w.Create(w.ctx, w.pvh("bare"), true)
	if err != nil {
		if r := node.Refusal(err); r == nil || !strings.Contains(strings.ToLower(r.GetWhy()+r.GetTry()), "qemu") {
			t.Fatalf("the refusal does not say what is missing: %v", err)
		}
		return
	}
	vm := w.reaches("bare", "failed", soon)
	if !strings.Contains(strings.ToLower(vm.GetReason()+vm.GetLastExit().GetEvidence()), "qemu") {
		t.Errorf("nobody says that QEMU is missing: %v", vm)
	}
	if r := w.ctl(1, "node", "doctor"); !strings.Contains(strings.ToLower(r.Stdout), "qemu") {
		t.Errorf("doctor does not mention QEMU: %s", r.Stdout)
	}
}

func TestHostileNamesAndSpecsAreRefused(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	for _, name := range []string{"", "../up", "a/b", ".", "..", "-rf", "a b", "a\x00b", "a\nb", "Ä", "WEB", strings.Repeat("a", 41), "blixard@.service"} {
		_, err := w.Create(w.ctx, w.pvh(name), true)
		w.refused(err, "invalid")
	}
	spec := w.pvh("big")
	spec.Boot.Cmdline = strings.Repeat("x", 10<<20)
	if _, err := w.Create(w.ctx, spec, true); err == nil {
		t.Error("a spec of 10 MB was taken")
	}
	file := filepath.Join(t.TempDir(), "big.yaml")
	w.must(os.WriteFile(file, []byte("name: web\ncpus: 1\n#"+strings.Repeat("x", 10<<20)+"\n"), 0o600))
	w.ctl(1, "apply", "-f", file)
	w.must(os.WriteFile(file, []byte("name: web\ncpu: 1\n"), 0o600))
	if r := w.ctl(1, "apply", "-f", file); !strings.Contains(r.Stderr, "cpus") || !strings.Contains(r.Stderr, "2") {
		t.Errorf("want line, column and the suggestion cpus, got %s", r.Stderr)
	}
	w.ctl(4, "vm", "show", "nobody")
	w.ctl(2, "vm", "create")
	vms, err := w.List(w.ctx)
	w.must(err)
	if len(vms) != 0 {
		t.Errorf("something was created: %v", vms)
	}
}

func TestStateFolderThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	w := empty(t, node.Options{})
	for what, state := range map[string]string{"a file": "/etc/hostname", "a read-only file system": "/proc/blixard"} {
		args := strings.Split(strings.ReplaceAll(strings.Join(w.Args(), "\x00"), w.State, state), "\x00")
		out, err := exec.CommandContext(w.ctx, args[0], args[1:]...).CombinedOutput()
		if err == nil {
			t.Errorf("%s as the state folder: the daemon ended with 0: %s", what, out)
		}
		w.oneLine(string(out))
	}
}

func TestUnreachableDaemonHasItsExitCode(t *testing.T) {
	t.Parallel()
	w := empty(t, node.Options{})
	if r := w.ctl(3, "vm", "list"); !strings.Contains(r.Stderr, w.Socket) {
		t.Errorf("the error does not name the socket: %s", r.Stderr)
	}
}

func TestMetricsAreCleanForPromtool(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: make setup-test")
	}
	w := begin(t, node.Options{})
	vm := w.up(w.pvh("metered"))
	w.strike(vm)
	w.next(vm)
	text, err := exec.CommandContext(w.ctx, "curl", "-sS", "--fail", "--unix-socket", w.Socket, "http://node/metrics").Output()
	if err != nil {
		t.Fatalf("curl --unix-socket …/metrics: %v", err)
	}
	check := exec.CommandContext(w.ctx, promtool, "check", "metrics")
	check.Stdin = strings.NewReader(string(text))
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s\n%s", err, out, text)
	}
	for _, want := range []string{"blixard_vms", "blixard_decisions_total", "blixard_restarts_total"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no metric %s in:\n%s", want, text)
		}
	}
}
