package chaos

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

func TestKilledVMMComesBackHealthy(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	first := w.up(node.Builtin("web", ""))
	w.strike(first)
	second := w.next(first)
	if second.GetIncarnation() != first.GetIncarnation()+1 || second.GetPid() == first.GetPid() {
		t.Errorf("want the next incarnation in a new process, got %d (pid %d) after %d (pid %d)",
			second.GetIncarnation(), second.GetPid(), first.GetIncarnation(), first.GetPid())
	}
	w.only(second.GetPid())
	exit := second.GetLastExit()
	if exit.GetCause() != "vmm-crash" || !exit.GetCharged() || exit.GetDecision().GetDo() != "restart" {
		t.Errorf("want a charged vmm-crash that was answered by a restart, got %v", exit)
	}
	if second.GetRestarts().GetInWindow() != 1 {
		t.Errorf("want one failure in the window, got %v", second.GetRestarts())
	}
}

func TestCrashLoopIsGivenUpAndForgivenByReset(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := w.pvh("loop")
	spec.Restart = node.Impatient(3)
	vm := w.up(spec)
	for range 3 {
		w.strike(vm)
		vm = w.next(vm)
	}
	w.strike(vm)
	failed := w.reaches("loop", "failed", soon)
	w.only()
	if failed.GetIntent() != "running" || failed.GetReason() == "" || failed.GetLastExit().GetDecision().GetDo() != "give-up" {
		t.Errorf("want it given up, wanted up still, and with a reason: %v", failed)
	}
	if crashes, err := w.Crashes(w.ctx, "loop"); err != nil || len(crashes) != 4 {
		t.Errorf("want 4 crashes on record, got %d, %v", len(crashes), err)
	}
	w.must(w.Kill()) // P10: a restarted daemon forgives nothing
	w.start()
	w.reaches("loop", "failed", soon)
	w.only()
	_, err := w.ResetOf(w.ctx, "loop")
	w.must(err)
	w.healthy("loop", failed.GetRevision())
}

func TestGuestThatDiesBeforeItIsUpIsGivenUp(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("stillborn", "blixard.fault=crash-loop")
	spec.Restart = node.Impatient(1)
	_, err := w.Create(w.ctx, spec, true)
	w.must(err)
	failed := w.reaches("stillborn", "failed", 2*boot)
	if cause := failed.GetLastExit().GetCause(); cause != "guest-panic" {
		t.Errorf("want guest-panic, got %s: %s", cause, failed.GetLastExit().GetEvidence())
	}
	w.only()
}

func TestDeleteDuringBackoffLeavesNothing(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := w.pvh("slow")
	spec.Restart = node.Patient(time.Hour)
	vm := w.up(spec)
	w.strike(vm)
	waiting := w.reaches("slow", "backoff", soon)
	next := waiting.GetRestarts().GetNextRetryAt().AsTime()
	if left := time.Until(next); left < 50*time.Minute || left > time.Hour {
		t.Errorf("want the next try in an hour, got %v", left)
	}
	if r := w.ctl(0, "vm", "explain", "slow"); r.Stdout == "" {
		t.Error("explain says nothing during a backoff")
	}
	_, err := w.DeleteOf(w.ctx, "slow")
	w.must(err)
	w.must(w.Removed(w.ctx, "slow", soon))
	w.only()
	if leaks := w.Leaks(); len(leaks) > 0 {
		t.Errorf("left behind: %v", leaks)
	}
	again := w.up(w.pvh("slow"))
	if again.GetUid() == vm.GetUid() || again.GetIncarnation() != 1 {
		t.Errorf("a VM of the same name must be a new one: %v", again)
	}
}

func TestStopDuringBackoffStaysDown(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := w.pvh("brief")
	spec.Restart = node.Patient(4 * time.Second) // time enough to be asked in it
	vm := w.up(spec)
	w.strike(vm)
	w.reaches("brief", "backoff", soon)
	stopped, err := w.StopOf(w.ctx, "brief", false)
	w.must(err)
	w.reaches("brief", "stopped", soon)
	// P5: the retry would have been due by now.
	_, err = w.Wait(w.ctx, "brief", node.Goal{Phase: "preparing", After: stopped.GetRevision(), Within: 6 * time.Second})
	w.refused(err, "timed-out")
	w.only()
}

func TestOneVMsEndsLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	calm := w.up(w.pvh("calm"))
	spec := w.pvh("wild")
	spec.Restart = node.Impatient(50)
	vm := w.up(spec)
	for range 20 {
		w.strike(vm)
		vm = w.next(vm)
	}
	still, err := w.Get(w.ctx, "calm")
	w.must(err)
	if still.GetPid() != calm.GetPid() || still.GetPhase() != "running" {
		t.Errorf("the neighbour was touched: %v", still)
	}
	w.only(calm.GetPid(), vm.GetPid())
}

func TestUnhealthyGuestIsReplaced(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("mute", "blixard.fault=hang@3s")
	spec.Restart = node.Patient(time.Hour)
	spec.Health = []*v1.Check{{Type: "guest-agent", Interval: durationpb.New(time.Second), Timeout: durationpb.New(time.Second), Failures: 2}}
	w.up(spec)
	end := w.ended("mute", boot)
	if end.GetCause() != "health-failed" {
		t.Errorf("want health-failed, got %s: %s", end.GetCause(), end.GetWhy())
	}
	w.reaches("mute", "backoff", soon)
	w.only()
}
