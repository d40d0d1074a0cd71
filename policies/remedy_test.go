package policies

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// drawLadder draws what Spec.Check lets through.
func drawLadder(t *rapid.T) []vm.Rung {
	var out []vm.Rung
	for i := range rapid.IntRange(0, 4).Draw(t, "rungs") {
		r := vm.Rung{Do: rapid.SampledFrom([]vm.Remedy{vm.RemedyReset, vm.RemedyRestore, vm.RemedyRestart, vm.RemedyKill}).Draw(t, "do"), Times: rapid.IntRange(1, 3).Draw(t, "times")}
		if rapid.IntRange(0, 3).Draw(t, "for?") == 0 {
			r.For = []vm.Cause{rapid.SampledFrom([]vm.Cause{vm.CauseHealthFailed, vm.CauseGuestPanic, vm.CauseIOError, vm.CauseLinkLost}).Draw(t, "for")}
		}
		if i == 3 {
			r = vm.Rung{Do: rapid.SampledFrom([]vm.Remedy{vm.RemedyReset, vm.RemedyRestore, vm.RemedyKill, vm.RemedyHold}).Draw(t, "last")}
		}
		out = append(out, r)
	}
	return out
}

// checkRemedy: a reset keeps the incarnation and its history, no rung is taken
// more often than it may be, and what is held stays held.
func (w *walker) checkRemedy(before vm.Record, t Turn, out Outcome) {
	was, is := before.State, out.Record.State
	for i, n := range is.Rungs {
		if most := out.Record.Spec.Remedies[i].Times; most > 0 && n > most {
			w.t.Fatalf("%s: rung %d was taken %d times, and may be %d times", t.Event, i, n, most)
		}
	}
	if is.ResetDue && is.Phase&(vm.Starting|vm.Adopting) == 0 {
		w.t.Fatalf("%s: a reset is due in %s", t.Event, is.Phase)
	}
	if t.Event == vm.GuestToReset {
		w.checkReset(was, is, out)
	}
	if out.Crash == nil {
		return
	}
	switch d := out.Crash.Decision; d.Remedy {
	case vm.RemedyHold:
		if is.After != vm.ThenHold || is.Phase != vm.Killing {
			w.t.Fatalf("held, and goes to %s and then %q", is.Phase, is.After)
		}
	case vm.RemedyReset:
		if t.Event != vm.GuestToReset {
			w.t.Fatalf("%s resets", t.Event)
		}
	case vm.RemedyRestart:
		if is.Phase != vm.Stopping || is.After != vm.ThenRestart && is.After != vm.ThenBackoff {
			w.t.Fatalf("restarted, and goes to %s and then %q", is.Phase, is.After)
		}
	}
}

func (w *walker) checkReset(was, is vm.State, out Outcome) {
	_, _, left := Budget(w.now, out.Record.Spec.Restart, was)
	switch {
	case was.Incarnation != is.Incarnation || was.Process != is.Process || was.LaunchedAt != is.LaunchedAt || was.Restarts != is.Restarts:
		w.t.Fatalf("a reset began another incarnation: %+v", is)
	case is.Crashes != was.Crashes+1 || out.Crash == nil || !out.Crash.Decision.Charged:
		w.t.Fatalf("a reset was not recorded and charged: %+v", out.Crash)
	case left == 0:
		w.t.Fatalf("a reset with a budget that is spent")
	case is.Phase != vm.Starting || !is.ReadyAt.IsZero() || is.Probes != nil || !is.ResetDue || is.After != vm.ThenStop:
		w.t.Fatalf("what a reset leaves: %+v", is)
	}
}

// sickly is a VM whose guest answered a minute ago, with a ladder.
func sickly(ladder ...vm.Rung) vm.Record {
	rec := record(vm.Running, vm.WantRunning)
	rec.Spec.Remedies = ladder
	s := &rec.State
	s.LaunchedAt, s.ReadyAt, s.Process = noon.Add(-time.Hour), noon.Add(-time.Minute), &vm.Process{PID: 7}
	s.Health, s.HealthSince = vm.Unhealthy, noon
	s.Probes = []vm.Probed{{Check: "guest-agent", Health: vm.Unhealthy, Streak: -3}}
	return rec
}

func sick(c vm.Cause) Turn {
	return Turn{Event: vm.GuestSick, At: noon, Failure: &vm.Failure{Cause: c, Evidence: "seen", Alive: true}}
}

func heal(rec vm.Record, t Turn) (vm.Event, Outcome) {
	t = Remedied(rec, t)
	return t.Event, Next(rec, t)
}

var allRemedies = []vm.Rung{{Do: vm.RemedyReset, Times: 1}, {Do: vm.RemedyRestart, Times: 1}, {Do: vm.RemedyKill, Times: 1}, {Do: vm.RemedyHold}}

func TestTheLadderIsClimbedRungByRung(t *testing.T) {
	rec := sickly(allRemedies...)
	rec.Spec.Restart.Budget.Attempts = 10
	want := []struct {
		event  vm.Event
		phase  vm.Phase
		after  vm.After
		why    string
		remedy vm.Remedy
	}{
		{vm.GuestToReset, vm.Starting, vm.ThenStop, "health-failed: crash 1 of 10 in 10m, reset in place (remedy 1 of 4: reset, time 1 of 1)", vm.RemedyReset},
		{vm.GuestToRestart, vm.Stopping, vm.ThenBackoff, "next try in 1.8s; asked to power off before (remedy 2 of 4: restart, time 1 of 1)", vm.RemedyRestart},
		{vm.GuestSick, vm.Killing, vm.ThenBackoff, "; killed (remedy 3 of 4: kill, time 1 of 1)", vm.RemedyKill},
		{vm.GuestSick, vm.Killing, vm.ThenHold, "health-failed: crash 4 of 10 in 10m, held until a person decides (remedy 4 of 4: hold, time 1)", vm.RemedyHold},
		{vm.GuestSick, vm.Killing, vm.ThenHold, "(remedy 4 of 4: hold, time 2)", vm.RemedyHold},
	}
	for i, one := range want {
		event, out := heal(rec, sick(vm.CauseHealthFailed))
		s, c := out.Record.State, out.Crash
		if event != one.event || s.Phase != one.phase || s.After != one.after || c.Decision.Remedy != one.remedy || !strings.HasSuffix(c.Decision.Why, one.why) {
			t.Fatalf("sick for the time %d: %s → %s, then %q, by %+v", i+1, event, s.Phase, s.After, c.Decision)
		}
		if strings.Count(s.Reason, "health-failed") != 1 || !strings.Contains(s.Reason, ": "+string(one.remedy)+", time") {
			t.Fatalf("sick for the time %d: the cause once and the remedy, got %q", i+1, s.Reason)
		}
		if s.Crashes != uint64(i+1) || len(s.Ledger) != i+1 {
			t.Fatalf("sick for the time %d: %d crashes, %d charged", i+1, s.Crashes, len(s.Ledger))
		}
		rec.State.Rungs, rec.State.Ledger, rec.State.Tries, rec.State.Crashes = s.Rungs, s.Ledger, s.Tries, s.Crashes
	}
}

func TestTheLadderBeginsAnewWhenTheLedgerDoes(t *testing.T) {
	used := sickly(allRemedies...)
	used.State.Rungs, used.State.Ledger = []int{1, 1, 1, 0}, []time.Time{noon.Add(-time.Minute)}
	long := used
	long.State.ReadyAt = noon.Add(-24 * time.Hour)
	for name, rec := range map[string]vm.Record{
		"well for long": long,
		"reset asked":   Next(used, Turn{Event: vm.ResetAsked, At: noon}).Record,
		"a new spec":    Next(used, Turn{Event: vm.SpecAsked, At: noon, Spec: &used.Spec}).Record,
	} {
		event, out := heal(rec, sick(vm.CauseHealthFailed))
		if event != vm.GuestToReset || !slices.Equal(out.Record.State.Rungs, []int{1, 0, 0, 0}) {
			t.Errorf("%s: %s, used %v", name, event, out.Record.State.Rungs)
		}
	}
	if event, _ := heal(used, sick(vm.CauseHealthFailed)); event != vm.GuestSick {
		t.Errorf("used up, and yet %s", event)
	}
}

func TestWhatARungCantDoAKillDoesInItsStead(t *testing.T) {
	for name, one := range map[string]struct {
		ladder vm.Rung
		change func(*vm.Record, *Turn)
		want   string
	}{
		"a VMM that is silent":          {vm.Rung{Do: vm.RemedyReset}, func(_ *vm.Record, t *Turn) { t.Failure.Silent = true }, "its VMM does not answer"},
		"a restart of a silent VMM":     {vm.Rung{Do: vm.RemedyRestart}, func(_ *vm.Record, t *Turn) { t.Failure.Silent = true }, "its VMM does not answer"},
		"a restart of a panicked guest": {vm.Rung{Do: vm.RemedyRestart}, func(_ *vm.Record, t *Turn) { t.Failure.Cause = vm.CauseGuestPanic }, "it can't be asked to power off any more"},
		"a reset for a lost link": {vm.Rung{Do: vm.RemedyReset, For: []vm.Cause{vm.CauseLinkLost}}, func(_ *vm.Record, t *Turn) {
			t.Failure.Cause = vm.CauseLinkLost
		}, "no reset mends link-lost"},
		"a reset of one that didn't come up": {vm.Rung{Do: vm.RemedyReset}, func(r *vm.Record, _ *Turn) {
			r.State.Phase, r.State.ReadyAt = vm.Starting, time.Time{}
		}, "it had not answered since it booted"},
	} {
		rec, turn := sickly(one.ladder), sick(vm.CauseHealthFailed)
		one.change(&rec, &turn)
		event, out := heal(rec, turn)
		d, s := out.Crash.Decision, out.Record.State
		if event != vm.GuestSick || s.Phase != vm.Killing || d.Remedy != vm.RemedyKill || !strings.Contains(d.Why, "killed, as "+one.want) || !slices.Equal(s.Rungs, []int{1}) {
			t.Errorf("%s: %s → %s, used %v, %+v", name, event, s.Phase, s.Rungs, d)
		}
	}
}

func TestAResetDoesntWaitForADelayThatASpecLeavesOut(t *testing.T) {
	rec := sickly(vm.Rung{Do: vm.RemedyReset})
	rec.Spec.Restart.Delays = []time.Duration{0}
	rec.State.Phase, rec.State.ReadyAt = vm.Starting, time.Time{}
	if event, _ := heal(rec, sick(vm.CauseGuestPanic)); event != vm.GuestToReset {
		t.Errorf("no delay was asked for, and %s", event)
	}
}

func TestSupervisionAndPeopleStandAboveTheLadder(t *testing.T) {
	for name, change := range map[string]func(*vm.Record, *Turn){
		"a spent budget":    func(r *vm.Record, _ *Turn) { r.Spec.Restart.Budget.Attempts = 1; r.State.Ledger = []time.Time{noon} },
		"policy never":      func(r *vm.Record, _ *Turn) { r.Spec.Restart.Policy = vm.RestartNever },
		"safe mode":         func(_ *vm.Record, t *Turn) { t.Decision = HeldInSafeMode() },
		"it was asked down": func(r *vm.Record, _ *Turn) { r.State.Phase, r.State.Intent = vm.Stopping, vm.WantStopped },
		"paused":            func(r *vm.Record, _ *Turn) { r.State.Phase = vm.Paused },
		"not charged":       func(_ *vm.Record, t *Turn) { t.Failure.Cause = vm.CauseIOError },
		"no ladder":         func(r *vm.Record, _ *Turn) { r.Spec.Remedies = nil },
		"a saved guest":     func(r *vm.Record, _ *Turn) { r.State.Phase, r.State.Saved = vm.Starting, &vm.SavedState{} },
		"a full disk of the host": func(r *vm.Record, t *Turn) {
			r.State.Phase, r.State.ReadyAt, t.DiskFull = vm.Starting, time.Time{}, "full"
		},
	} {
		rec, turn := sickly(vm.Rung{Do: vm.RemedyReset}), sick(vm.CauseHealthFailed)
		change(&rec, &turn)
		event, out := heal(rec, turn)
		if event != vm.GuestSick || out.Record.State.Phase != vm.Killing || out.Record.State.Rungs != nil {
			t.Errorf("%s: %s → %s, used %v", name, event, out.Record.State.Phase, out.Record.State.Rungs)
		}
	}
}

// The end of an incarnation that was reset is a record of its own.
func TestAnEndAfterAResetIsTold(t *testing.T) {
	_, out := heal(sickly(allRemedies...), sick(vm.CauseHealthFailed))
	rec := out.Record
	if again := Next(rec, Turn{Event: vm.VMMGone, At: noon, Failure: &vm.Failure{Cause: vm.CauseVMMCrash}}); again.Crash == nil || again.Record.State.Crashes != 2 {
		t.Errorf("a crash after a reset: %+v", again.Crash)
	}
	stopping := Next(rec, Turn{Event: vm.StopAsked, At: noon, By: "uid=0"}).Record
	off := Next(stopping, Turn{Event: vm.VMMGone, At: noon, Failure: &vm.Failure{Cause: vm.CauseGuestPoweroff}})
	if last := off.Record.State.LastExit; last.Failure.Cause != vm.CauseGuestPoweroff || off.Record.State.After != vm.ThenStop || off.Record.State.Intent != vm.WantStopped {
		t.Errorf("a stop after a reset: %+v", last) // P5
	}
	if stopping.State.ResetDue {
		t.Error("a stop left the reset due")
	}
}

// A daemon that dies between the write and the reset makes up for it.
func TestAResetThatIsDueSurvivesTheDaemon(t *testing.T) {
	_, out := heal(sickly(allRemedies...), sick(vm.CauseGuestPanic))
	woke := Next(out.Record, Turn{Event: vm.Woke, At: noon}).Record
	found := Adopted(woke, &vm.Process{PID: 7}, nil, "b1", noon)
	adopted := Next(woke, found).Record
	if adopted.State.Phase != vm.Starting || !adopted.State.ResetDue || adopted.State.Deadline.IsZero() {
		t.Fatalf("adopted: %+v", adopted.State)
	}
	done := Next(adopted, Turn{Event: vm.GuestWasReset, At: noon})
	if done.Record.State.ResetDue || !done.Write {
		t.Fatalf("it was done, and is still due: %+v", done.Record.State)
	}
	if up := Next(done.Record, Turn{Event: vm.GuestAnswered, At: noon}).Record; up.State.Phase != vm.Running || !slices.Equal(up.State.Rungs, []int{1, 0, 0, 0}) {
		t.Fatalf("it came up as %+v", up.State)
	}
}

// A guest that doesn't come back from a reset is met by the next rung; a start of
// which no reset was part, by none.
func TestAResetInVainLeadsToTheNextRung(t *testing.T) {
	_, out := heal(sickly(allRemedies...), sick(vm.CauseHealthFailed))
	rec := Next(out.Record, Turn{Event: vm.GuestWasReset, At: noon}).Record
	rec.State.HealthWhy = "beat: no answer yet"
	late := Turn{Event: vm.DeadlinePassed, At: noon.Add(2 * time.Minute)}
	event, out := heal(rec, late)
	f, d, s := out.Crash.Failure, out.Crash.Decision, out.Record.State
	if event != vm.GuestToRestart || s.Phase != vm.Stopping || d.Remedy != vm.RemedyRestart || !d.Charged || !slices.Equal(s.Rungs, []int{1, 1, 0, 0}) {
		t.Errorf("%s → %s, used %v, %+v", event, s.Phase, s.Rungs, d)
	}
	if f.Cause != vm.CauseHealthFailed || f.Evidence != "the guest did not answer within 2m of its reset: beat: no answer yet" {
		t.Errorf("its failure is %+v", f)
	}

	due := rec
	due.State.ResetDue = true
	if event, out := heal(due, late); event != vm.GuestSick || out.Crash.Decision.Remedy != vm.RemedyKill || !strings.HasPrefix(out.Crash.Failure.Evidence, "it could not be reset within 2m") {
		t.Errorf("a reset that never came about: %s, %+v", event, out.Crash)
	}
	full := late
	full.DiskFull = "full"
	if _, out := heal(rec, full); out.Crash.Failure.Cause != vm.CauseIOError || out.Record.State.Phase != vm.Killing {
		t.Errorf("whose console nobody could hear: %+v", out.Crash)
	}
	first := rec
	first.State.LastExit = nil
	if event, out := heal(first, late); event != vm.DeadlinePassed || out.Crash.Failure.Cause != vm.CauseStartTransient || out.Record.State.Phase != vm.Killing {
		t.Errorf("one that was never reset: %s, %+v", event, out.Crash)
	}
	again := rec
	again.Spec.Remedies, again.Spec.Restart.Delays = []vm.Rung{{Do: vm.RemedyReset}}, []time.Duration{0}
	if event, out := heal(again, late); event != vm.GuestToReset || out.Record.State.PhaseSince != late.At || !out.Record.State.ResetDue {
		t.Errorf("where no delay is asked for: %s, %+v", event, out.Record.State)
	}
}

func TestASilentVMMIsToldByItsOwnChecks(t *testing.T) {
	for _, one := range []struct {
		check  vm.CheckType
		health vm.Health
		silent bool
	}{
		{vm.CheckVMM, vm.Unhealthy, true},
		{vm.CheckProcess, vm.Unhealthy, true},
		{vm.CheckVMM, vm.Degraded, false},
		{vm.CheckAgent, vm.Unhealthy, false}, // the guest's silence, not its VMM's
	} {
		well := Probe{Check: vm.Check{Type: vm.CheckAgent}, Health: vm.Healthy}
		if got := Silent([]Probe{well, {Check: vm.Check{Type: one.check}, Health: one.health}}); got != one.silent {
			t.Errorf("%s is %s: silent %t, want %t", one.check, one.health, got, one.silent)
		}
	}
	if Silent(nil) {
		t.Error("silent without a check")
	}
}
