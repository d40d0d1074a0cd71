package policies

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func record(p vm.Phase, i vm.Intent) vm.Record {
	return vm.Record{
		ID: "0123456789abcdef", Slot: 1, Spec: vm.Spec{Name: "web"}.Filled(),
		State: vm.State{Phase: p, Intent: i, Incarnation: 3, Revision: 7, PhaseSince: noon, BootID: "b1"},
	}
}

func TestAClockThatWasSetBackDoesNotLengthenABackoff(t *testing.T) {
	rec := record(vm.Backoff, vm.WantRunning)
	rec.State.LastExit = &vm.Crash{Failure: vm.Failure{At: noon}, Decision: vm.Decision{Do: vm.BackOff, After: 4 * time.Second}}
	rec.State.Deadline = noon.Add(4 * time.Second)
	back := noon.Add(-time.Hour)
	out := Next(rec, Turn{Event: vm.Woke, At: back})
	if want := back.Add(4 * time.Second); !out.Record.State.Deadline.Equal(want) {
		t.Fatalf("next try at %s, want %s", out.Record.State.Deadline, want)
	}
}

func TestTheRootCauseIsKeptOverLaterDominoes(t *testing.T) {
	rec := record(vm.Running, vm.WantRunning)
	sick := Next(rec, Turn{Event: vm.GuestSick, At: noon, Failure: &vm.Failure{Cause: vm.CauseHealthFailed, Alive: true}})
	gone := Next(sick.Record, Turn{Event: vm.VMMGone, At: noon.Add(time.Second), Failure: &vm.Failure{Cause: vm.CauseVMMCrash}})
	if got := gone.Record.State.LastExit; got.Failure.Cause != vm.CauseHealthFailed || got.Decision.Do != vm.BackOff {
		t.Fatalf("last exit is %s, %s", got.Failure.Cause, got.Decision.Do)
	}
}

func TestAStopReplacesADecisionToRestart(t *testing.T) {
	rec := record(vm.Running, vm.WantRunning)
	out := Next(rec, Turn{Event: vm.VMMGone, At: noon, Failure: &vm.Failure{Cause: vm.CauseVMMCrash}})
	if out.Record.State.After != vm.ThenBackoff {
		t.Fatalf("after a crash: %q", out.Record.State.After)
	}
	stopped := Next(out.Record, Turn{Event: vm.StopAsked, At: noon, By: "uid=0"})
	if got := stopped.Record.State.After.Released(); got != vm.ReleasedToStop {
		t.Fatalf("after a stop: %s", got)
	}
}

func TestADeletionUnderWayRefusesAStart(t *testing.T) {
	out := Next(record(vm.Running, vm.WantRunning), Turn{Event: vm.ForceDeleteAsked, At: noon})
	if r := Next(out.Record, Turn{Event: vm.StartAsked, At: noon}).Refusal; r == nil {
		t.Fatal("a VM that is being deleted was started")
	}
}

func TestAnUnchargedLoopWithoutDelaysIsSlowedDown(t *testing.T) {
	rec := record(vm.Preparing, vm.WantRunning)
	rec.Spec.Restart.Delays = []time.Duration{0}
	for i := range 10 {
		rec.State.Phase = vm.Preparing
		out := Next(rec, Turn{Event: vm.VMMGone, At: noon, Failure: &vm.Failure{Cause: vm.CauseStartTransient}})
		if after := out.Record.State.LastExit.Decision.After; i >= sparedAtOnce && after < sparedFloor {
			t.Fatalf("failure %d in a row is followed after %s", i+1, after)
		}
		rec = out.Record
	}
}

func TestANewSpecReservesAnew(t *testing.T) {
	rec := record(vm.Stopped, vm.WantStopped)
	rec.Reservation = vm.ReservationFor(rec.Spec, vm.MiB)
	bigger := rec.Spec
	bigger.Memory *= 2
	want := vm.ReservationFor(bigger, vm.MiB)
	out := Next(rec, Turn{Event: vm.SpecAsked, At: noon, Spec: &bigger, Reservation: want})
	if out.Record.Reservation != want || !out.Whole {
		t.Fatalf("reserved %+v, want %+v", out.Record.Reservation, want)
	}
}

func TestOurOwnKillIsNoCrashOfTheVMM(t *testing.T) {
	for intent, want := range map[vm.Event]vm.Cause{vm.KillAsked: vm.CauseOperator, vm.StopAsked: vm.CauseUs, vm.RestartAsked: vm.CauseUs} {
		out := Next(record(vm.Running, vm.WantRunning), Turn{Event: intent, At: noon, By: "uid=0"})
		if out.Record.State.Phase == vm.Stopping {
			out = Next(out.Record, Turn{Event: vm.DeadlinePassed, At: noon})
		}
		out = Next(out.Record, Turn{Event: vm.VMMGone, At: noon, Failure: &vm.Failure{Cause: vm.CauseVMMCrash}})
		if got := out.Record.State.LastExit.Failure.Cause; got != want {
			t.Errorf("after %s the end is %s, want %s", intent, got, want)
		}
	}
}

func TestAClockThatWasSetBackDoesNotLengthenAStop(t *testing.T) {
	out := Next(record(vm.Running, vm.WantRunning), Turn{Event: vm.StopAsked, At: noon})
	back := noon.Add(-time.Hour)
	out = Next(out.Record, Turn{Event: vm.Woke, At: back})
	if latest := back.Add(out.Record.Spec.Stop.Timeout); out.Record.State.Deadline.After(latest) {
		t.Fatalf("killed at %s, want at most %s", out.Record.State.Deadline, latest)
	}
}

// atOnce is a running VM whose first failures are followed at once.
func atOnce(p vm.Phase, i vm.Intent) vm.Record {
	rec := record(p, i)
	rec.Spec.Restart.Delays = []time.Duration{0, time.Minute}
	return rec
}

func TestARestartAtOnceBeginsInTheTurnOfTheDeath(t *testing.T) {
	gone := Turn{Event: vm.VMMGone, At: noon, BootID: "b1", Failure: &vm.Failure{Cause: vm.CauseVMMCrash}}
	changed := vm.Spec{Name: "web"}.Filled()
	changed.Restart.Delays, changed.CPUs = []time.Duration{0}, 2
	for _, c := range []struct {
		story  string
		before vm.Record
		first  []Turn
		to     vm.Phase
		effect vm.Effect
	}{
		{"running", atOnce(vm.Running, vm.WantRunning), nil, vm.Preparing, vm.Prepare},
		{"paused", atOnce(vm.Paused, vm.WantRunning), nil, vm.Preparing, vm.Prepare},
		{"gone while no daemon looked", atOnce(vm.Adopting, vm.WantRunning), nil, vm.Preparing, vm.Prepare},
		{"a delay comes first", record(vm.Running, vm.WantRunning), nil, vm.Reaping, vm.Release},
		{"its second failure is delayed", atOnce(vm.Running, vm.WantRunning), []Turn{gone, {Event: vm.Launched, At: noon, Process: &vm.Process{PID: 7}}}, vm.Reaping, vm.Release},
		{"a new spec waits", atOnce(vm.Running, vm.WantRunning), []Turn{{Event: vm.SpecAsked, At: noon, Spec: &changed}}, vm.Reaping, vm.Release},
		{"it was asked down", atOnce(vm.Adopting, vm.WantRunning), []Turn{{Event: vm.StopAsked, At: noon}}, vm.Reaping, vm.Release},
		{"a start was asked for again", atOnce(vm.Running, vm.WantRunning), []Turn{{Event: vm.StartAsked, At: noon}}, vm.Preparing, vm.Prepare},
	} {
		rec := c.before
		for _, f := range c.first {
			rec = Next(rec, f).Record
		}
		out := Next(rec, gone)
		if out.Record.State.Phase != c.to || len(out.Effects) != 1 || out.Effects[0] != c.effect {
			t.Errorf("%s: %s %v, want %s", c.story, out.Record.State.Phase, out.Effects, c.to)
		}
		if out.Entry.Incarnation != rec.State.Incarnation || out.Crash.Failure.Incarnation != rec.State.Incarnation {
			t.Errorf("%s: the end of %d is told of %d", c.story, rec.State.Incarnation, out.Entry.Incarnation)
		}
		if began := out.Record.State.Incarnation - rec.State.Incarnation; (began == 1) != (c.to == vm.Preparing) {
			t.Errorf("%s: %d incarnations began", c.story, began)
		}
	}
}

func TestANewSpecIsPendingUntilAStart(t *testing.T) {
	for _, p := range (vm.AllPhases &^ vm.Suspending).Each() {
		rec := record(p, vm.WantRunning)
		rec.State.LastExit = &vm.Crash{}
		was, more := rec.Spec, rec.Spec
		more.CPUs++
		out := Next(rec, Turn{Event: vm.SpecAsked, At: noon, Spec: &more})
		held := p&(idle|vm.Removing) == 0
		if s := out.Record.State; s.Pending != held || (s.Runs != nil) != held {
			t.Errorf("a new spec in %s: pending %v, while %v runs", p, s.Pending, s.Runs)
		}
		if runs := out.Record.Runs().Spec.CPUs; held && runs != was.CPUs {
			t.Errorf("%d processors are told to run in %s, which were launched with %d", runs, p, was.CPUs)
		}
		more.CPUs++
		out = Next(out.Record, Turn{Event: vm.SpecAsked, At: noon, Spec: &more})
		if runs := out.Record.Runs().Spec.CPUs; held && runs != was.CPUs {
			t.Errorf("a second new spec in %s: %d processors are told to run, which were launched with %d", p, runs, was.CPUs)
		}
		out = Next(out.Record, Turn{Event: vm.SpecAsked, At: noon, Spec: &was})
		if s := out.Record.State; held && (s.Pending || s.Runs != nil) {
			t.Errorf("the spec that runs came back in %s: pending %v", p, s.Pending)
		}
	}
	rec := record(vm.Reaping, vm.WantRunning)
	rec.State.After, rec.State.Pending = vm.ThenRestart, true
	if Keeps(rec.State) {
		t.Error("what an old spec wanted is kept for a restart")
	}
	for after, e := range map[vm.After]vm.Event{vm.ThenRestart: vm.ReleasedToRestart, vm.ThenStop: vm.ReleasedToStop} {
		rec.State.After = after
		if Next(rec, Turn{Event: e, At: noon}).Record.State.Pending {
			t.Errorf("it still waits after %s", e)
		}
	}
}

func TestWhatIsReadAnewWaitsForNoStart(t *testing.T) {
	rec := record(vm.Running, vm.WantRunning)
	spec := rec.Spec
	spec.Restart.Policy, spec.Autostart.Priority = vm.RestartNever, 7
	spec.Reclaim = vm.Reclaim{Steps: []vm.ReclaimStep{{Do: vm.ReclaimPause, After: time.Minute}}, Keep: 50}
	if Next(rec, Turn{Event: vm.SpecAsked, At: noon, Spec: &spec}).Record.State.Pending {
		t.Error("what takes effect at once is said to wait")
	}
	old := rec
	old.State.Pending = true // by a daemon that didn't keep what runs
	if s := Next(old, Turn{Event: vm.SpecAsked, At: noon, Spec: &spec}).Record.State; !s.Pending || s.Runs != nil {
		t.Errorf("nobody knows what runs, and yet: pending %v, runs %v", s.Pending, s.Runs)
	}
}

// A restart of the daemon is nothing that happened to a VM: it runs since its
// guest answered, not since it was adopted (P10).
func TestAdoptionKeepsSinceWhenItRuns(t *testing.T) {
	ready := noon.Add(-time.Hour)
	rec := vm.Record{Spec: vm.Spec{Name: "web"}.Filled(), State: vm.State{
		Phase: vm.Adopting, Intent: vm.WantRunning, Incarnation: 1, BootID: "b", LaunchedAt: ready.Add(-time.Second), ReadyAt: ready, PhaseSince: noon,
	}}
	out := Next(rec, Turn{Event: vm.FoundReady, At: noon.Add(time.Second), BootID: "b", Process: &vm.Process{PID: 7}})
	if s := out.Record.State; s.Phase != vm.Running || !s.PhaseSince.Equal(ready) {
		t.Errorf("%s since %s, want running since %s", s.Phase, s.PhaseSince, ready)
	}
}

// A start that times out names the check that kept it from being ready.
func TestAStartThatTimesOutNamesWhatWasNotSeen(t *testing.T) {
	p := NewProbe(vm.Check{Type: vm.CheckConsole, Healthy: "login:"}, noon)
	why := Judge([]Probe{p}).Why
	rec := vm.Record{Spec: vm.Spec{Name: "web"}.Filled(), State: vm.State{
		Phase: vm.Starting, Intent: vm.WantRunning, Incarnation: 1, LaunchedAt: noon, PhaseSince: noon, HealthWhy: why,
	}}
	out := Next(rec, Turn{Event: vm.DeadlinePassed, At: noon.Add(time.Minute)})
	if got := out.Crash.Failure.Evidence; !strings.Contains(got, `"login:" not seen yet`) {
		t.Errorf("evidence %q", got)
	}
}

// P10: a guest may write only once that it is up. Where its answer and what its
// checks said of it stood in two turns, a daemon that died between them waited
// for the second for ever.
func TestAnAnswerIsWrittenWithWhatTheChecksSaid(t *testing.T) {
	said := []vm.Probed{{Check: "console", Health: vm.Healthy, Since: noon}}
	out := Next(record(vm.Starting, vm.WantRunning), Turn{
		Event: vm.GuestAnswered, At: noon, Health: vm.Healthy, HealthWhy: "console: answers", Probes: said,
	})
	s := out.Record.State
	if s.Phase != vm.Running || s.ReadyAt != noon || s.Health != vm.Healthy || len(s.Probes) != 1 || s.HealthWhy != "console: answers" {
		t.Errorf("%s, %s by %q, %+v", s.Phase, s.Health, s.HealthWhy, s.Probes)
	}
	if out.Entry.Why != s.Reason {
		t.Errorf("the journal says %q", out.Entry.Why)
	}
}
