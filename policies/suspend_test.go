package policies

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// suspended is a VM whose guest of incarnation 3 is on the disk.
func suspended() vm.Record {
	r := record(vm.Suspended, vm.WantSuspended)
	r.State.Saved = &vm.SavedState{Incarnation: 3, At: noon, Bytes: vm.MiB, Hardware: r.Spec.Hardware()}
	return r
}

// through takes turns and fails at a refusal.
func through(t *testing.T, r vm.Record, turns ...Turn) vm.Record {
	t.Helper()
	for _, one := range turns {
		one.At = noon
		out := Next(r, one)
		if out.Refusal != nil {
			t.Fatalf("%s × %s: %v", r.State.Phase, one.Event, out.Refusal)
		}
		r = out.Record
	}
	return r
}

func TestASavedGuestIsForgottenBeforeItRunsOn(t *testing.T) {
	r := through(t, suspended(), Turn{Event: vm.ResumeAsked}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 7}})
	if !Loading(r.State) {
		t.Fatalf("nothing is loaded in %s with %+v", r.State.Phase, r.State.Saved)
	}
	out := Next(r, Turn{Event: vm.GuestLoaded, At: noon})
	if !out.Write || out.Record.State.Saved != nil || len(out.Effects) == 0 || out.Effects[0] != vm.Resume {
		t.Fatalf("want it forgotten, written, then resumed: %+v", out)
	}
	again := Next(out.Record, Turn{Event: vm.GuestLoaded, At: noon})
	if again.Write || len(again.Effects) > 0 {
		t.Fatalf("a second notice acts: %+v", again)
	}
}

func TestOnlyWhatCannotBeLoadedIsGivenUp(t *testing.T) {
	for _, one := range []struct {
		failure vm.Failure
		keeps   bool
	}{
		{vm.Failure{Cause: vm.CauseSavedState}, false},
		{vm.Failure{Cause: vm.CauseStartPermanent}, true},
		{vm.Failure{Cause: vm.CauseStartTransient}, true},
		{vm.Failure{Cause: vm.CauseVMMCrash}, true},
		{vm.Failure{Cause: vm.CauseHostReboot}, true},
	} {
		r := through(t, suspended(), Turn{Event: vm.ResumeAsked}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 7}})
		out := Next(r, Turn{Event: vm.VMMGone, At: noon, Failure: &one.failure})
		if s := out.Record.State; (s.Saved != nil) != one.keeps {
			t.Errorf("%s: saved %+v, reason %s", one.failure.Cause, s.Saved, s.Reason)
		}
		if d := out.Crash.Decision; one.failure.Cause == vm.CauseSavedState && (d.Charged || d.Do != vm.RestartNow || out.Record.State.Phase != vm.Preparing) {
			t.Errorf("want it booted afresh at once and not charged, got %+v in %s", d, out.Record.State.Phase)
		}
	}
}

func TestWhileLoadingOnlyTheLoadIsToBlame(t *testing.T) {
	crash := vm.Failure{Cause: vm.CauseVMMCrash, Exit: &vm.Exit{Known: true, Code: 1}}
	segv := vm.Failure{Cause: vm.CauseVMMCrash, Exit: &vm.Exit{Known: true, Signal: sigSEGV}}
	killed := vm.Failure{Cause: vm.CauseVMMCrash, Exit: &vm.Exit{Known: true, Signal: sigKILL}}
	for _, one := range []struct {
		f      vm.Failure
		stderr string
		want   vm.Cause
	}{
		{crash, "qemu: load of migration failed: Invalid argument", vm.CauseSavedState},
		{crash, "qemu: Failed to get \"write\" lock", vm.CauseVMMCrash},
		{segv, "", vm.CauseSavedState},
		{killed, "", vm.CauseVMMCrash},
		{vm.Failure{Cause: vm.CauseOOMHost}, "load of migration failed", vm.CauseOOMHost},
	} {
		if got := WhileLoading(one.f, one.stderr).Cause; got != one.want {
			t.Errorf("%s, %q: %s, want %s", one.f.Cause, one.stderr, got, one.want)
		}
	}
}

// A new spec is not worth a guest's memory: it is refused while it would cost that.
func TestASpecOfOtherHardwareLosesNoSavedGuest(t *testing.T) {
	for _, r := range []vm.Record{suspended(), through(t, record(vm.Running, vm.WantRunning), Turn{Event: vm.SuspendAsked})} {
		spec := r.Spec
		spec.Memory *= 2
		out := Next(r, Turn{Event: vm.SpecAsked, Spec: &spec, At: noon})
		if out.Refusal == nil || !strings.Contains(out.Refusal.Try, "stop --force web") || out.Record.Spec.Memory != r.Spec.Memory {
			t.Errorf("%s: %v, memory %s", r.State.Phase, out.Refusal, out.Record.Spec.Memory)
		}
		spec = r.Spec
		spec.Restart.Budget.Attempts++
		if out := Next(r, Turn{Event: vm.SpecAsked, Spec: &spec, At: noon}); out.Refusal != nil {
			t.Errorf("%s: the same hardware: %v", r.State.Phase, out.Refusal)
		}
	}
}

// What another daemon, or the loss of the store, made of the spec all the same is told.
func TestOtherHardwareBootsAfreshAndSaysWhy(t *testing.T) {
	r := suspended()
	r.Spec.Memory *= 2
	out := Next(r, Turn{Event: vm.StartAsked, At: noon})
	if s := out.Record.State; s.Saved != nil || !strings.Contains(s.Reason, "hardware was changed") || out.Entry.Why != s.Reason {
		t.Fatalf("saved %+v, reason %q, journal %q", s.Saved, s.Reason, out.Entry.Why)
	}
}

// A guest that runs on other hardware than its spec says by now could be saved,
// and never loaded.
func TestAGuestWhoseSpecWaitsIsNotSuspended(t *testing.T) {
	r := through(t, record(vm.Stopped, vm.WantStopped), Turn{Event: vm.StartAsked}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 7}}, Turn{Event: vm.GuestAnswered})
	spec := r.Spec
	spec.Memory *= 2
	r = through(t, r, Turn{Event: vm.SpecAsked, Spec: &spec})
	if out := Next(r, Turn{Event: vm.SuspendAsked, At: noon}); out.Refusal == nil || !strings.Contains(out.Refusal.Try, "restart web") {
		t.Errorf("suspended all the same: %v", out.Refusal)
	}
}

func TestWhatCannotBeSavedGoesOn(t *testing.T) {
	for _, e := range []vm.Event{vm.SaveFailed, vm.DeadlinePassed} {
		r := through(t, record(vm.Running, vm.WantRunning), Turn{Event: vm.SuspendAsked})
		if r.State.Deadline.Sub(noon) < saveTimeout {
			t.Fatalf("saving has until %s", r.State.Deadline)
		}
		out := Next(r, Turn{Event: e, At: noon, Why: "the disk is full"})
		if s := out.Record.State; s.Phase != vm.Running || s.Intent != vm.WantRunning || len(out.Effects) != 1 || out.Effects[0] != vm.Resume {
			t.Errorf("%s: %s wanted %s, then %v", e, s.Phase, s.Intent, out.Effects)
		}
	}
}

// A seed is a disk more: a guest that was saved with one loads into no machine
// without it, nor the other way round.
func TestASuspendedGuestIsNotLostToASeed(t *testing.T) {
	with := suspended()
	with.Spec.Seed.Hostname = "web"
	for name, r := range map[string]vm.Record{"it goes": with, "it comes": suspended()} {
		to := r.Spec
		if to.Seed = (vm.Seed{}); name == "it comes" {
			to.Seed.Hostname = "web"
		}
		if out := Next(r, Turn{Event: vm.SpecAsked, At: noon, Spec: &to}); out.Refusal == nil {
			t.Errorf("%s: applied, and its saved guest is lost at the next start", name)
		}
		if out := Next(r, Turn{Event: vm.SpecAsked, At: noon, Spec: &r.Spec}); out.Refusal != nil {
			t.Errorf("%s: the spec as it is is refused: %v", name, out.Refusal)
		}
		is := record(vm.Running, vm.WantRunning)
		is.Spec.Seed = r.Spec.Seed
		is = WithSpec(is, to, is.Reservation)
		if out := Next(is, Turn{Event: vm.SuspendAsked, At: noon}); out.Refusal == nil {
			t.Errorf("%s at the next start: suspended all the same", name)
		}
	}
}

// A kernel alone whose agent nobody asks runs in a machine without a port for it.
func TestASuspendedGuestIsNotLostToACheckOfItsAgent(t *testing.T) {
	bare := suspended()
	bare.Spec.Boot = vm.Boot{Kernel: "/boot/tiny"}
	bare.Spec.Health = nil
	bare.State.Saved.Hardware = bare.Spec.Hardware()
	to := bare.Spec
	to.Health = []vm.Check{{Type: vm.CheckProcess}}
	if out := Next(bare, Turn{Event: vm.SpecAsked, At: noon, Spec: &to}); out.Refusal != nil {
		t.Errorf("a check that needs no device: %v", out.Refusal)
	}
	to.Health = []vm.Check{{Type: vm.CheckAgent}}
	if out := Next(bare, Turn{Event: vm.SpecAsked, At: noon, Spec: &to}); out.Refusal == nil {
		t.Error("applied, and its saved guest is lost at the next start")
	}
}

func TestABootOfTheNodeKeepsWhatWasSaved(t *testing.T) {
	loading := through(t, suspended(), Turn{Event: vm.ResumeAsked}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 7}})
	for name, r := range map[string]vm.Record{"suspended": suspended(), "loading": loading} {
		for _, policy := range []vm.AutostartPolicy{vm.AutostartAlways, vm.AutostartNever, vm.AutostartHealthy} {
			r.Spec.Autostart.Policy = policy
			is := through(t, r, Woken(r, Waking{At: noon, BootID: "b2", NewBoot: true, Policy: RestartAll}))
			for is.State.Phase == vm.Reaping {
				is = through(t, is, Turn{Event: is.State.After.Released()})
			}
			if is.State.Saved == nil {
				t.Errorf("%s under %s: %s, and its memory is lost", name, policy, is.State.Phase)
			}
		}
	}
}

func TestAStartThatLoadsHasTimeToRead(t *testing.T) {
	r := suspended()
	r.Spec.Memory = 64 * vm.GiB
	r.State.Saved.Hardware = r.Spec.Hardware()
	r = through(t, r, Turn{Event: vm.ResumeAsked}, Turn{Event: vm.Launched, Process: &vm.Process{PID: 7}})
	if got := r.State.Deadline.Sub(noon); got < 15*time.Minute {
		t.Errorf("64 GiB have %s", got)
	}
}

func TestASavedGuestThatNoRecordNamesIsDropped(t *testing.T) {
	for _, one := range []struct {
		phase vm.Phase
		saved *vm.SavedState
		want  int
	}{
		{vm.Running, nil, 1}, // of 2; that of 3 may be just being written
		{vm.Starting, &vm.SavedState{Incarnation: 2}, 0},
		{vm.Suspended, &vm.SavedState{Incarnation: 3}, 1},
		{vm.Stopped, nil, 2},
	} {
		r := record(one.phase, vm.WantRunning)
		r.State.Saved = one.saved
		folder := vm.FoundFolder{Name: r.Spec.Name, ID: r.ID, Folder: true, Saved: []vm.Incarnation{2, 3, 4}}
		n := 0
		for _, d := range Compare(Inventory{Folders: []vm.FoundFolder{folder}}, Records{All: []vm.Record{r}}) {
			if d.Mend == MendDropSaved {
				n++
				if d.Gate != GateTwice || d.VM != r.Spec.Name {
					t.Errorf("%s: %+v", one.phase, d)
				}
			}
		}
		if n != one.want {
			t.Errorf("%s with %+v: %d are dropped, want %d", one.phase, one.saved, n, one.want)
		}
	}
}
