package policies

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// walker is a random walk over the table: any event, at any time, in any phase.
type walker struct {
	t    *rapid.T
	rec  vm.Record
	now  time.Time
	boot vm.BootID
	// launched is the highest incarnation that a Launch effect was given for.
	launched vm.Incarnation
}

func newWalker(t *rapid.T) *walker {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	spec := vm.Spec{Name: "walk"}.Filled()
	spec.Autostart.Policy = rapid.SampledFrom([]vm.AutostartPolicy{
		vm.AutostartInherit, vm.AutostartAlways, vm.AutostartHealthy, vm.AutostartLastState, vm.AutostartNever,
	}).Draw(t, "autostart")
	spec.Restart.Policy = rapid.SampledFrom([]vm.RestartPolicy{vm.RestartAlways, vm.RestartOnFailure, vm.RestartNever}).Draw(t, "policy")
	spec.Remedies = drawLadder(t)
	return &walker{t: t, now: now, boot: "b1", rec: vm.Record{
		ID: "0123456789abcdef", Slot: 1, Spec: spec, State: vm.State{Phase: vm.Stopped, PhaseSince: now, Revision: 1},
	}}
}

func (w *walker) step() {
	w.now = w.now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(w.t, "passes")))
	e := rapid.SampledFrom(vm.Events()).Draw(w.t, "event")
	before := w.rec
	turn := w.fill(e)
	turn = Remedied(before, turn)
	e = turn.Event
	out := Next(before, turn)
	w.checkShape(before, e, out)
	w.checkRemedy(before, turn, out)
	w.checkGood(before, turn, out)
	w.checkIntent(before, turn, out)
	if out.Removed {
		w.rec = newWalker(w.t).rec
		w.launched = 0
		return
	}
	w.rec = out.Record
}

// fill gives an event what it carries.
func (w *walker) fill(e vm.Event) Turn {
	t := Turn{Event: e, At: w.now, BootID: w.boot, Spread: rapid.Float64Range(0, 0.999).Draw(w.t, "spread")}
	switch e {
	case vm.ReleasedToStop, vm.ReleasedToRestart, vm.ReleasedToBackoff, vm.ReleasedToHold, vm.ReleasedToRemove, vm.ReleasedToSuspend:
		t.Event = w.rec.State.After.Released()
	case vm.FoundReady, vm.FoundStarting, vm.FoundUnwanted, vm.FoundNone:
		found := rapid.SampledFrom([]*vm.Process{nil, {PID: 7}}).Draw(w.t, "found")
		adopted := Adopted(w.rec, found, nil, w.boot, w.now)
		adopted.Spread = t.Spread
		return adopted
	case vm.Woke, vm.Rebooted, vm.Enlisted, vm.HeldBack, vm.Dismissed, vm.Shelved:
		booted := rapid.Bool().Draw(w.t, "booted anew")
		if booted {
			w.boot += "+"
		}
		policy := rapid.SampledFrom([]BootPolicy{RestartAll, RestartHealthy, BootManual}).Draw(w.t, "node")
		return Woken(w.rec, Waking{At: w.now, BootID: w.boot, NewBoot: booted, Policy: policy})
	case vm.VMMGone, vm.GuestSick, vm.GuestToReset, vm.GuestToRestart:
		if e != vm.VMMGone {
			t.Event = vm.GuestSick
		}
		t.Failure = &vm.Failure{Silent: rapid.Bool().Draw(w.t, "silent"), Cause: rapid.SampledFrom(vm.Causes()).Draw(w.t, "cause"), Evidence: "walk"}
	case vm.Launched:
		t.Process = &vm.Process{PID: 7}
	case vm.SpecAsked:
		t.Spec = &w.rec.Spec
	case vm.GuestSaved, vm.GuestKept:
		t.Saved = &vm.SavedState{Incarnation: w.rec.State.Incarnation, Hardware: w.rec.Spec.Hardware()}
	case vm.HealthChanged:
		t.Health = vm.Degraded
	}
	return t
}

func (w *walker) checkShape(before vm.Record, e vm.Event, out Outcome) {
	s := out.Record.State
	story := before.State.Phase.String() + " × " + e.String() + " → " + s.Phase.String()
	if out.Refusal != nil && (len(out.Effects) > 0 || out.Write) {
		w.t.Fatalf("%s: refused, and yet it acts", story)
	}
	if len(out.Effects) > 0 && !out.Write && !redo(e) {
		w.t.Fatalf("%s: acts without a write (P2, P3)", story)
	}
	if out.Write && s.Revision != before.State.Revision+1 {
		w.t.Fatalf("%s: revision went from %d to %d", story, before.State.Revision, s.Revision)
	}
	if (s.Phase&waiting != 0) == s.Deadline.IsZero() {
		w.t.Fatalf("%s: deadline %v (P9)", story, s.Deadline)
	}
	if s.Phase == vm.Backoff && s.Intent != vm.WantRunning || s.Phase == vm.Failed && s.Intent != vm.WantRunning {
		w.t.Fatalf("%s: waits for a restart that nobody wants (P5)", story)
	}
	if s.Phase == vm.Stopped && s.Intent == vm.WantRunning {
		w.t.Fatalf("%s: wanted up and lies silent (P4)", story)
	}
	for _, effect := range out.Effects {
		if effect != vm.Prepare {
			continue
		}
		if s.Incarnation <= w.launched {
			w.t.Fatalf("%s: incarnation %d begins again (P1)", story, s.Incarnation)
		}
		w.launched = s.Incarnation
	}
}

// redo events repeat effects of a write that is durable already.
func redo(e vm.Event) bool {
	return e == vm.Woke || e == vm.DeadlinePassed || e == vm.Rebooted || e == vm.GuestLoaded
}

// checkIntent: only people change what people asked for, but for a guest that
// turned itself off for good.
func (w *walker) checkIntent(before vm.Record, t Turn, out Outcome) {
	e := t.Event
	was, is := before.State.Intent, out.Record.State.Intent
	stayedDown := out.Crash != nil && out.Crash.Decision.Do == vm.StayDown || t.Decision != nil && t.Decision.Do == vm.StayDown
	always := e == vm.Enlisted && !before.State.AskedDown
	if before.State.AskedDown && is == vm.WantRunning && !e.Asked() {
		w.t.Fatalf("%s brought back what was asked down (P5)", e)
	}
	unsaved := before.State.Phase == vm.Suspending && (e == vm.SaveFailed || e == vm.DeadlinePassed)
	if was != is && !e.Asked() && !stayedDown && !always && !unsaved {
		w.t.Fatalf("%s changed the intent from %s to %s", e, was, is)
	}
	if was == vm.WantRemoved && is != vm.WantRemoved {
		w.t.Fatalf("%s brought a VM back that is being deleted", e)
	}
	if was != vm.WantRunning && out.Record.State.Phase == vm.Preparing && before.State.Phase != vm.Preparing && !e.Asked() {
		w.t.Fatalf("%s in %s brought a VM back that was asked down (P5)", e, before.State.Phase)
	}
}

func TestRandomWalksKeepThePromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWalker(t)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			w.step()
		}
	})
}
