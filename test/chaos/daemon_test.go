package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

func TestKilledDaemonAdoptsItsVMsWithTheirHistory(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	web := w.up(node.Builtin("web", ""))
	cheap := w.up(w.pvh("cheap"))
	w.strike(cheap)
	cheap = w.next(cheap)
	_, err := w.Create(w.ctx, w.pvh("down"), false)
	w.must(err)

	w.must(w.Kill())
	w.only(web.GetPid(), cheap.GetPid())
	w.start()
	for _, before := range []*v1.VM{web, cheap} {
		after := w.healthy(before.GetName(), 0)
		if after.GetPid() != before.GetPid() || after.GetIncarnation() != before.GetIncarnation() {
			t.Errorf("%s: pid %d, incarnation %d became %d, %d", before.GetName(), before.GetPid(), before.GetIncarnation(), after.GetPid(), after.GetIncarnation())
		}
		if after.GetRestarts().GetInWindow() != before.GetRestarts().GetInWindow() || after.GetCrashes() != before.GetCrashes() {
			t.Errorf("%s: budget or history changed: %v became %v", before.GetName(), before.GetRestarts(), after.GetRestarts())
		}
	}
	w.reaches("down", "stopped", soon)
	w.only(web.GetPid(), cheap.GetPid())
	// What was adopted is supervised: P4.
	w.strike(cheap)
	w.next(cheap)
}

func TestVMMThatDiesWhileTheDaemonIsDownComesBack(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	vm := w.up(w.pvh("orphan"))
	w.must(w.Kill())
	w.strike(vm)
	w.start()
	next := w.next(vm)
	if next.GetIncarnation() != vm.GetIncarnation()+1 || next.GetCrashes() != 1 {
		t.Errorf("want the next incarnation and one crash on record, got %v", next)
	}
	w.only(next.GetPid())
}

func TestKilledDaemonDuringAStartEndsWithOneVMM(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	_, err := w.Create(w.ctx, node.Builtin("early", ""), true)
	w.must(err)
	w.reaches("early", "starting", boot)
	w.must(w.Kill())
	w.start()
	vm := w.healthy("early", 0)
	if vm.GetIncarnation() != 1 || vm.GetCrashes() != 0 {
		t.Errorf("want the first incarnation adopted, got %v", vm)
	}
	w.only(vm.GetPid())
}

func TestKilledDaemonDuringAStopStillStops(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("late", "blixard.fault=stubborn")
	spec.Stop = &v1.Stop{Method: "agent", Timeout: seconds(4)}
	w.up(spec)
	_, err := w.StopOf(w.ctx, "late", false)
	w.must(err)
	w.reaches("late", "stopping", soon)
	w.must(w.Kill())
	w.start()
	vm := w.reaches("late", "stopped", soon)
	if vm.GetIntent() != "stopped" {
		t.Errorf("want it wanted down, got %s", vm.GetIntent())
	}
	w.only()
}

func TestDaemonKilledOverAndOverUnderChurn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := w.pvh("churn")
	spec.Restart = node.Impatient(90)
	vm := w.up(spec)
	calm := w.up(w.pvh("calm"))
	for range 8 {
		w.strike(vm)
		w.must(w.Kill()) // somewhere between the notice and the next launch
		w.start()
		vm = w.next(vm)
		w.only(vm.GetPid(), calm.GetPid())
	}
}

func TestTermLetsGoOfEveryVM(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	var pids []int32
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		pids = append(pids, w.up(w.pvh(name)).GetPid())
	}
	began := time.Now()
	code, err := w.Terminate(soon)
	if err != nil || code != 0 {
		t.Fatalf("want exit code 0, got %d, %v", code, err)
	}
	t.Logf("ended in order after %v", time.Since(began))
	w.only(pids...)
	w.start()
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		vm := w.healthy(name, 0)
		if vm.GetPid() != pids[i] || vm.GetIntent() != "running" { // P5: our end is nobody's stop
			t.Errorf("%s: pid %d became %d, intent %s", name, pids[i], vm.GetPid(), vm.GetIntent())
		}
	}
}

func TestSecondDaemonIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	elsewhere := t.TempDir()
	for what, swap := range map[string][2]string{
		"the same socket": {w.State, filepath.Join(elsewhere, "state")},
		"the same folder": {w.Socket, filepath.Join(w.Root, "other.sock")},
	} {
		args := strings.Split(strings.ReplaceAll(strings.Join(w.Args(), "\x00"), swap[0], swap[1]), "\x00")
		out, err := exec.CommandContext(w.ctx, args[0], args[1:]...).CombinedOutput()
		if err == nil {
			t.Errorf("%s: a second daemon ran, and ended with 0: %s", what, out)
		}
		if lines := strings.Count(strings.TrimSpace(string(out)), "\n"); lines != 0 {
			t.Errorf("%s: want one line, got:\n%s", what, out)
		}
	}
	if _, err := w.List(w.ctx); err != nil {
		t.Errorf("the first daemon suffered: %v", err)
	}
}

func TestDeadSocketIsReplacedAndAFileIsNot(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.must(w.Kill())
	if _, err := os.Stat(w.Socket); err != nil {
		t.Fatalf("the test needs the dead socket: %v", err)
	}
	w.start() // replaced
	if _, err := w.Terminate(soon); err != nil {
		t.Fatal(err)
	}
	w.must(os.RemoveAll(w.Socket))
	w.must(os.WriteFile(w.Socket, []byte("precious"), 0o600))
	w.must(w.Launch())
	if code, err := w.Exit(soon); err != nil || code == 0 {
		t.Errorf("want a refusal, because a file is in the socket's place; got %d, %v", code, err)
	}
	if b, err := os.ReadFile(w.Socket); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}
