package policies

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// checkGood: what is restored is a state that the record names, by the
// incarnation right after the decision, and nobody else loads it.
func (w *walker) checkGood(before vm.Record, t Turn, out Outcome) {
	was, is := before.State, out.Record.State
	d := vm.Decision{}
	if out.Crash != nil {
		d = out.Crash.Decision
	}
	switch loads := ToLoad(is); {
	case d.Remedy == vm.RemedyRestore && (is.Good == nil || is.Restore != is.Incarnation+1 || d.Do != vm.RestartNow && d.Do != vm.BackOff):
		w.t.Fatalf("%s restores nothing: %+v", t.Event, is)
	case is.Restore > is.Incarnation+1 || is.Restore != 0 && is.Good == nil:
		w.t.Fatalf("%s: incarnation %d is to be restored from %+v", t.Event, is.Restore, is.Good)
	case loads != nil && loads.Good && !WasRestored(is):
		w.t.Fatalf("%s: a restore that nobody decided: %+v", t.Event, is)
	case is.Good != nil && is.Phase&(vm.Stopped|vm.Removing) != 0:
		w.t.Fatalf("%s: a known-good state is left in %s", t.Event, is.Phase)
	case is.Good != nil && is.Good != was.Good && (t.Event != vm.GuestKept || is.Good.Incarnation != is.Incarnation || was.Loaded == is.Incarnation):
		w.t.Fatalf("%s: a known-good state out of nowhere: %+v", t.Event, is.Good)
	case restoredInVain(was) && d.Remedy == vm.RemedyRestore:
		w.t.Fatalf("%s: what was restored in vain is restored again", t.Event)
	}
}

// good is a VM whose guest answered a minute ago and was kept then.
func good(ladder ...vm.Rung) vm.Record {
	rec := sickly(ladder...)
	rec.State.Good = &vm.SavedState{Incarnation: 3, At: noon.Add(-time.Minute), Bytes: 70 * vm.MiB, Hardware: rec.Spec.Hardware(), Good: true}
	return rec
}

var restoreThenHold = []vm.Rung{{Do: vm.RemedyRestore, Times: 1}, {Do: vm.RemedyHold}}

// restoring is such a VM in the incarnation that begins with its known-good state.
func restoring(t *testing.T, ladder ...vm.Rung) vm.Record {
	t.Helper()
	_, out := heal(good(ladder...), sick(vm.CauseHealthFailed))
	r := through(t, out.Record, Turn{Event: vm.KillConfirmed}, Turn{Event: vm.ReleasedToRestart}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 8}})
	if saved := ToLoad(r.State); r.State.Incarnation != 4 || saved == nil || !saved.Good || saved.Incarnation != 3 {
		t.Fatalf("incarnation %d begins with %+v", r.State.Incarnation, saved)
	}
	return r
}

func TestAHealthyGuestIsKeptOnceInAnIncarnation(t *testing.T) {
	r := sickly(restoreThenHold...)
	kept := Turn{Event: vm.GuestKept, At: noon, Saved: &vm.SavedState{Bytes: vm.MiB, Good: true}}
	out := Next(r, kept)
	if g := out.Record.State.Good; !out.Write || g == nil || g.Incarnation != 3 || g.Hardware != r.Spec.Hardware() || !slices.Equal(out.Effects, []vm.Effect{vm.DropSaved}) {
		t.Fatalf("want it named, and the one before dropped: %+v", out)
	}
	if again := Next(out.Record, kept); again.Write || len(again.Effects) > 0 {
		t.Errorf("a second notice acts: %+v", again)
	}
	for name, change := range map[string]func(*vm.Record){
		"nobody asks for it":        func(r *vm.Record) { r.Spec.Remedies = nil },
		"another spec waits":        func(r *vm.Record) { r.State.Pending = true },
		"it was loaded itself":      func(r *vm.Record) { r.State.Loaded = 3 },
		"its guest is ended by now": func(r *vm.Record) { r.State.Phase = vm.Killing },
	} {
		other := r
		change(&other)
		if out := Next(other, kept); out.Write || out.Record.State.Good != nil {
			t.Errorf("%s: it is kept as %+v", name, out.Record.State.Good)
		}
	}
	failed := Next(r, Turn{Event: vm.KeepFailed, At: noon, Why: "no room"})
	if !failed.Write || failed.Record.State.GoodWhy != "no room" || failed.Entry.Why != "no room" || len(failed.Effects) > 0 {
		t.Errorf("a failure: %+v", failed)
	}
}

func TestARestoreLoadsWhatWasGood(t *testing.T) {
	_, out := heal(good(restoreThenHold...), sick(vm.CauseHealthFailed))
	d, s := out.Crash.Decision, out.Record.State
	if s.Phase != vm.Killing || s.After != vm.ThenRestart || d.Do != vm.RestartNow || d.Remedy != vm.RemedyRestore || !d.Charged || !slices.Equal(s.Rungs, []int{1, 0}) {
		t.Fatalf("%s, then %q, by %+v", s.Phase, s.After, d)
	}
	if want := "health-failed: crash 1 of 5 in 10m, killed, and the known-good state of 1m ago is restored (remedy 1 of 2: restore, time 1 of 1)"; d.Why != want {
		t.Errorf("got  %s\nwant %s", d.Why, want)
	}
	r := restoring(t, restoreThenHold...)
	loaded := Next(r, Turn{Event: vm.GuestLoaded, At: noon})
	if s := loaded.Record.State; !loaded.Write || s.Restore != 0 || s.Good == nil || loaded.Effects[0] != vm.Resume {
		t.Fatalf("want it resumed, and still there: %+v", loaded)
	}
	if again := Next(loaded.Record, Turn{Event: vm.GuestLoaded, At: noon}); again.Write || len(again.Effects) > 0 {
		t.Errorf("a second notice acts: %+v", again)
	}
	up := through(t, loaded.Record, Turn{Event: vm.GuestAnswered, Health: vm.Healthy})
	if s := up.State; s.Phase != vm.Running || s.Good == nil || s.Good.Incarnation != 3 || WantsGood(up) {
		t.Errorf("after it came back: %+v", s)
	}
	if _, out := heal(up, sick(vm.CauseHealthFailed)); out.Crash.Decision.Remedy != vm.RemedyHold {
		t.Errorf("the second time: %+v", out.Crash.Decision)
	}
}

func TestAGuestThatHadNotAnsweredIsRestoredAfterItsDelay(t *testing.T) {
	r := good(vm.Rung{Do: vm.RemedyRestore})
	r.State.Phase, r.State.ReadyAt, r.State.Incarnation = vm.Starting, time.Time{}, 5
	_, out := heal(r, sick(vm.CauseGuestPanic))
	if d, s := out.Crash.Decision, out.Record.State; d.Do != vm.BackOff || d.Remedy != vm.RemedyRestore || s.Restore != 6 || s.After != vm.ThenBackoff {
		t.Errorf("%+v, then %q for %d", d, s.After, s.Restore)
	}
}

func TestWithoutAKnownGoodStateAKillDoes(t *testing.T) {
	for want, change := range map[string]func(*vm.Record){
		"there is no known-good state yet":                              func(r *vm.Record) { r.State.Good = nil },
		"there is no known-good state: no room":                         func(r *vm.Record) { r.State.Good, r.State.GoodWhy = nil, "no room" },
		"its hardware was changed since its known-good state was saved": func(r *vm.Record) { r.Spec.CPUs++ },
	} {
		r := good(vm.Rung{Do: vm.RemedyRestore, Times: 1})
		change(&r)
		_, out := heal(r, sick(vm.CauseHealthFailed))
		d, s := out.Crash.Decision, out.Record.State
		if d.Remedy != vm.RemedyKill || !strings.Contains(d.Why, "killed, as "+want) || s.Restore != 0 || !slices.Equal(s.Rungs, []int{1}) {
			t.Errorf("%s: %+v, used %v", want, d, s.Rungs)
		}
	}
}

// A file that somebody took from the disk is found out before a start is spent on
// it, and costs the ladder nothing.
func TestALostKnownGoodStateUsesNoRungUp(t *testing.T) {
	for lost, want := range map[vm.Incarnation]vm.Remedy{0: vm.RemedyRestore, 1: vm.RemedyKill, 99: vm.RemedyRestore} {
		r := good(vm.Rung{Do: vm.RemedyRestore, Times: 1})
		r.State.Good.Incarnation = 1
		turn := sick(vm.CauseHealthFailed)
		turn.Failure.LostGood = lost
		_, out := heal(r, turn)
		d, s := out.Crash.Decision, out.Record.State
		if used := slices.Max(s.Rungs) > 0; d.Remedy != want || used != (want == vm.RemedyRestore) || (s.Good == nil) != (want == vm.RemedyKill) || (s.Restore == 0) != (want == vm.RemedyKill) {
			t.Errorf("%d is lost: %+v, used %v, good %+v, to restore %d", lost, d, s.Rungs, s.Good, s.Restore)
		}
	}
}

// What doesn't come back is no known-good state, and never loops.
func TestARestoreInVainLeadsToTheNextRung(t *testing.T) {
	loading := restoring(t, vm.Rung{Do: vm.RemedyRestore}, vm.Rung{Do: vm.RemedyHold, For: []vm.Cause{vm.CauseGuestPanic}})
	loaded := through(t, loading, Turn{Event: vm.GuestLoaded})
	late := Turn{Event: vm.DeadlinePassed, At: noon.Add(2 * time.Minute)}
	for name, one := range map[string]struct {
		rec    vm.Record
		turn   Turn
		remedy vm.Remedy
		after  vm.After
		good   bool
	}{
		"it doesn't answer":  {loaded, late, "", vm.ThenBackoff, false},
		"it panics":          {loaded, sick(vm.CauseGuestPanic), vm.RemedyHold, vm.ThenHold, false},
		"it isn't loaded":    {loading, late, "", vm.ThenBackoff, false},
		"it can't be loaded": {loading, sick(vm.CauseSavedState), "", vm.ThenRestart, false},
		"a person kills it":  {loading, sick(vm.CauseOperator), "", vm.ThenRestart, true},
	} {
		_, out := heal(one.rec, one.turn)
		d, s := out.Crash.Decision, out.Record.State
		if d.Remedy != one.remedy || s.After != one.after || s.Restore != 0 || (s.Good != nil) != one.good {
			t.Errorf("%s: by %+v, then %q, good %+v", name, d, s.After, s.Good)
		}
	}
	_, out := heal(loaded, late)
	if f := out.Crash.Failure; f.Cause != vm.CauseHealthFailed || !strings.HasPrefix(f.Evidence, "the guest did not answer within 2m of its restore") {
		t.Errorf("its failure is %+v", f)
	}
}

// A person who stops, restarts or changes the VM gets one that boots.
func TestAPersonStandsAboveARestore(t *testing.T) {
	_, out := heal(good(restoreThenHold...), sick(vm.CauseHealthFailed))
	pending := out.Record
	spec := pending.Spec
	spec.CPUs++
	for name, turns := range map[string][]Turn{
		"a restart":      {{Event: vm.RestartAsked}, {Event: vm.KillConfirmed}, {Event: vm.ReleasedToRestart}},
		"a stop":         {{Event: vm.StopAsked}, {Event: vm.KillConfirmed}, {Event: vm.ReleasedToStop}, {Event: vm.StartAsked}},
		"other hardware": {{Event: vm.SpecAsked, Spec: &spec}, {Event: vm.KillConfirmed}, {Event: vm.ReleasedToRestart}},
	} {
		r := through(t, pending, turns...)
		if r.State.Phase != vm.Preparing || Loading(r.State) || r.State.Restore != 0 || WasRestored(r.State) {
			t.Errorf("%s: %s, loads %+v", name, r.State.Phase, ToLoad(r.State))
		}
	}
	r := through(t, pending, Turn{Event: vm.SpecAsked, Spec: &spec}, Turn{Event: vm.KillConfirmed}, Turn{Event: vm.ReleasedToRestart})
	if r.State.Good != nil {
		t.Errorf("of other hardware: %+v", r.State.Good)
	}
	loading := restoring(t, restoreThenHold...)
	if changed := through(t, loading, Turn{Event: vm.SpecAsked, Spec: &spec}); !Loading(changed.State) {
		t.Error("a spec that waits took away what is being loaded")
	}
	down := through(t, loading, Turn{Event: vm.StopAsked}, Turn{Event: vm.VMMGone, Failure: &vm.Failure{Cause: vm.CauseUs}}, Turn{Event: vm.ReleasedToStop})
	if s := down.State; s.Phase != vm.Stopped || s.Good != nil || s.Intent != vm.WantStopped {
		t.Errorf("a stop while it is loaded: %+v", s)
	}
}

// A daemon that dies while it is loaded goes on loading it.
func TestARestoreSurvivesTheDaemon(t *testing.T) {
	woke := through(t, restoring(t, restoreThenHold...), Turn{Event: vm.Woke})
	adopted := through(t, woke, Adopted(woke, &vm.Process{PID: 8}, nil, "b1", noon))
	if saved := ToLoad(adopted.State); adopted.State.Phase != vm.Starting || saved == nil || !saved.Good {
		t.Errorf("adopted in %s, loads %+v", adopted.State.Phase, saved)
	}
}

func TestAKnownGoodStateThatNoRecordNamesIsDropped(t *testing.T) {
	r := good(restoreThenHold...)
	r.State.Saved = &vm.SavedState{Incarnation: 2}
	folder := vm.FoundFolder{Name: r.Spec.Name, ID: r.ID, Folder: true, Saved: []vm.Incarnation{2}, Good: []vm.Incarnation{2, 3}}
	var got []string
	for _, d := range Compare(Inventory{Folders: []vm.FoundFolder{folder}}, Records{All: []vm.Record{r}}) {
		if d.Mend == MendDropSaved {
			got = append(got, d.What)
		}
	}
	if !slices.Equal(got, []string{"known-good state of web/2"}) {
		t.Errorf("dropped: %v", got)
	}
}

// One that is lost is offered to nobody, and one that came after it is kept.
func TestAKnownGoodStateThatIsLostIsForgotten(t *testing.T) {
	lost := func(r vm.Record, found ...vm.Incarnation) (out []Discrepancy) {
		folder := vm.FoundFolder{Name: r.Spec.Name, ID: r.ID, Folder: true, Good: found}
		for _, d := range Compare(Inventory{Folders: []vm.FoundFolder{folder}}, Records{All: []vm.Record{r}}) {
			if d.Mend == MendForgetGood {
				out = append(out, d)
			}
		}
		return out
	}
	r := good(restoreThenHold...)
	n := r.State.Good.Incarnation
	if all := lost(r, n); len(all) != 0 {
		t.Errorf("it is there: %+v", all)
	}
	if all := lost(r); len(all) != 1 || all[0].Gate != GateTwice {
		t.Fatalf("it is gone: %+v", all)
	}
	if all := lost(restoring(t, restoreThenHold...)); len(all) != 0 {
		t.Errorf("it is just being loaded: %+v", all)
	}
	gone := through(t, r, Turn{Event: vm.KeepFailed, Why: "gone", LostGood: n})
	if s := gone.State; s.Good != nil || s.GoodWhy != goodLost || s.Phase != vm.Running || s.Crashes != r.State.Crashes {
		t.Errorf("lost: %+v", s)
	}
	for name, one := range map[string]struct {
		rec vm.Record
		of  vm.Incarnation
	}{"a newer one came": {r, n - 1}, "it was lost before": {gone, n}} {
		if out := Next(one.rec, Turn{Event: vm.KeepFailed, At: noon, Why: "gone", LostGood: one.of}); out.Write {
			t.Errorf("%s: %+v", name, out.Record.State)
		}
	}
}

func TestExplainTellsOfAKnownGoodState(t *testing.T) {
	loading := restoring(t, restoreThenHold...)
	failed := good(restoreThenHold...)
	failed.State.Good, failed.State.GoodWhy = nil, "no room"
	for name, one := range map[string]struct {
		rec               vm.Record
		state, seen, next string
	}{
		"kept": {
			good(restoreThenHold...), "running: the guest has answered", "its known-good state is 1m old and takes 70MiB of the disk",
			"if it gets sick, its known-good state is restored, time 1 of 1",
		},
		"not kept": {
			failed, "running", "it has no known-good state: no room",
			"if it gets sick, it is killed and started, as there is no known-good state: no room, time 1 of 1",
		},
		"loading": {loading, "starting: the known-good state of 1m ago is being restored", "takes 70MiB of the disk", "the try counts as failed"},
		"loaded": {
			through(t, loading, Turn{Event: vm.GuestLoaded}), "starting: its known-good state was restored, the guest has not answered yet", "",
			"when the time is up, the guest counts as sick: it is killed and held",
		},
	} {
		e := Explain(noon, one.rec, nil)
		if !strings.Contains(e.State, one.state) || !strings.Contains(e.Seen, one.seen) || !strings.Contains(e.Next, one.next) {
			t.Errorf("%s:\nstate %s\nseen  %s\nnext  %s", name, e.State, e.Seen, e.Next)
		}
	}
}
