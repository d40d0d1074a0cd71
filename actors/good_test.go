package actors_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

func restoreThenHold(s *vm.Spec) {
	s.Remedies = []vm.Rung{{Do: vm.RemedyRestore, Times: 1}, {Do: vm.RemedyHold}}
	s.Stop.Timeout = 5 * time.Second
}

// good waits until a VM's known-good state is that of an incarnation.
func (s *stage) good(name vm.Name, n vm.Incarnation) {
	s.t.Helper()
	for range 20 {
		if g := s.state(name).Good; g != nil && g.Incarnation == n {
			break
		}
		s.after(time.Second)
	}
	st := s.state(name)
	if st.Good == nil || st.Good.Incarnation != n || !slices.Equal(s.world.Goods(s.id(name)), []vm.Incarnation{n}) {
		s.t.Fatalf("want the known-good state of incarnation %d, it is %+v (%s), on the disk %v", n, st.Good, st.GoodWhy, s.world.Goods(s.id(name)))
	}
}

func TestASickGuestIsRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.want("web", vm.Running, 1)
		if !s.world.Runs("web") {
			t.Fatal("it was kept, and stands still")
		}
		if st := s.hang("web", 1); st.LastExit.Decision.Remedy != vm.RemedyRestore {
			t.Fatalf("the first time: %+v", st.LastExit)
		}
		s.after(10 * time.Second)
		s.want("web", vm.Running, 2)
		st := s.state("web")
		if st.Health != vm.Healthy || st.Restore != 0 || st.Loaded != 2 || st.Saved != nil || s.world.Restored(s.id("web"), 2) != 1 {
			t.Fatalf("after a restore: %+v", st)
		}
		s.good("web", 1) // one that was loaded is not kept itself
		if st := s.hang("web", 2); st.LastExit.Decision.Remedy != vm.RemedyHold {
			t.Fatalf("the second time: %+v", st.LastExit)
		}
		s.after(10 * time.Second)
		s.want("web", vm.Failed, 2)
		if err := s.ask("web", vm.StopAsked); err != nil {
			t.Fatal(err)
		}
		s.after(10 * time.Second)
		if left := s.world.Goods(s.id("web")); len(left) != 0 || s.state("web").Good != nil {
			t.Errorf("stopped, and %v is left", left)
		}
	})
}

// The one before is dropped only when the record names the next.
func TestAKnownGoodStateIsReplacedByTheNextIncarnations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.world.Smite(s.id("web"))
		s.after(time.Millisecond)
		if g := s.state("web").Good; g == nil || g.Incarnation != 1 {
			t.Fatalf("its VMM was killed, and its state is %+v", g)
		}
		s.good("web", 2)
	})
}

// What a person asks while a guest is kept is done, and its probes blame nothing on it.
func TestAGuestThatIsKeptIsNotSick(t *testing.T) {
	for _, one := range []struct {
		name  string
		ask   []vm.Event
		phase vm.Phase
		runs  bool
		good  bool
	}{
		{"nothing", nil, vm.Running, true, true},
		{"pause", []vm.Event{vm.PauseAsked}, vm.Paused, false, true},
		{"pause and resume", []vm.Event{vm.PauseAsked, vm.ResumeAsked}, vm.Running, true, true},
		{"suspend", []vm.Event{vm.SuspendAsked}, vm.Suspended, false, false},
		{"suspend and resume", []vm.Event{vm.SuspendAsked, vm.ResumeAsked}, vm.Running, true, false},
		{"stop", []vm.Event{vm.StopAsked}, vm.Stopped, false, false},
		{"kill", []vm.Event{vm.KillAsked}, vm.Stopped, false, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(time.Second))
				defer s.end()
				s.world.Saves(70 * time.Second)
				s.create("web", restoreThenHold)
				s.after(10 * time.Second)
				s.want("web", vm.Running, 1)
				if s.world.Runs("web") || s.state("web").Good != nil {
					t.Fatal("it is not being kept")
				}
				s.world.Saves(0)
				for _, e := range one.ask {
					s.askAll("web", []vm.Event{e})
					s.after(time.Second) // nobody is refused because a VMM is just being ended
				}
				s.after(90 * time.Second)
				st := s.state("web")
				if st.Phase != one.phase || s.world.Runs("web") != one.runs || (st.Good != nil) != one.good || st.Crashes > 0 && one.runs {
					t.Errorf("%s, its guest runs %t, good %+v (%s), crashes %d: %s", st.Phase, s.world.Runs("web"), st.Good, st.GoodWhy, st.Crashes, st.Reason)
				}
			})
		})
	}
}

// It is told once, and costs the guest nothing.
func TestAGuestThatCantBeKeptRunsOn(t *testing.T) {
	for name, one := range map[string]struct {
		faults fake.Faults
		full   bool
	}{
		"no room":        {full: true},
		"a failed save":  {faults: fake.Faults{Save: 1}},
		"a failed sync":  {faults: fake.Faults{Keep: 1}},
		"one after that": {faults: fake.Faults{LateKeep: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(time.Second))
				defer s.end()
				s.world.Fill(one.full)
				s.world.Break(one.faults)
				s.create("web", restoreThenHold)
				s.after(time.Minute)
				s.want("web", vm.Running, 1)
				if st := s.state("web"); st.Health != vm.Healthy || !s.world.Runs("web") || st.Good != nil || st.GoodWhy == "" {
					t.Fatalf("%+v", st)
				}
				if told := s.journal("web", vm.KeepFailed.String()); len(told) != 1 {
					t.Errorf("told %v", told)
				}
				s.world.Fill(false)
				s.world.Break(fake.Faults{})
				if st := s.hang("web", 1); st.LastExit.Decision.Remedy != vm.RemedyKill {
					t.Errorf("without one: %+v", st.LastExit)
				}
				s.good("web", 2)
			})
		})
	}
}

// What is damaged costs a start that says so, and no more.
func TestAStateThatDoesntLoadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.create("web", restoreThenHold)
		s.good("web", 1)
		s.world.Spoil(s.id("web"), false)
		s.hang("web", 1)
		s.after(10 * time.Second)
		s.want("web", vm.Running, 3)
		st := s.state("web")
		if c := st.LastExit; c.Failure.Cause != vm.CauseSavedState || c.Decision.Charged || !strings.Contains(c.Decision.Why, "boots afresh") {
			t.Errorf("it came to %+v", c)
		}
		s.good("web", 3)
	})
}

// mortal is the store of a daemon that dies at the first turn of a kind: before
// it is written, or after that and before anything is done. The dead write nothing.
type mortal struct {
	persistence.Store
	s      *stage
	kind   vm.Event
	behind bool
	dead   bool
}

func (m *mortal) Commit(t persistence.Turn) (n uint64, err error) {
	if m.dead {
		return 0, nil
	}
	m.dead = t.Entry != nil && t.Entry.Kind == m.kind.String()
	if !m.dead || m.behind {
		n, err = m.Store.Commit(t)
	}
	if m.dead {
		m.s.life.Crash()
	}
	return n, err
}

// Whenever a daemon dies, the next one has a guest that runs, and its state.
func TestAKnownGoodStateOutlivesTheDaemon(t *testing.T) {
	for _, kind := range []vm.Event{vm.GuestAnswered, vm.GuestKept, vm.GuestSick, vm.KillConfirmed, vm.ReleasedToRestart, vm.Launched, vm.GuestLoaded} {
		for _, behind := range []bool{false, true} {
			name := kind.String() + " before"
			if behind {
				name = kind.String() + " behind"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStage(t, boots(time.Second))
					s.create("web", restoreThenHold)
					s.good("web", 1)
					if kind == vm.GuestAnswered || kind == vm.GuestKept {
						if err := s.ask("web", vm.KillAsked); err != nil {
							t.Fatal(err)
						}
						s.after(10 * time.Second)
					}
					s.keep = func(st persistence.Store) persistence.Store {
						return &mortal{Store: st, s: s, kind: kind, behind: behind}
					}
					s.kill()
					s.keep = nil
					want := vm.Incarnation(2)
					if kind == vm.ReleasedToRestart && behind {
						want++ // nobody knows whether it was launched
					}
					if s.state("web").Phase == vm.Stopped {
						if err := s.ask("web", vm.StartAsked); err != nil {
							t.Fatal(err)
						}
					} else {
						s.world.Hang(s.id("web"))
					}
					s.after(2 * time.Minute)
					s.kill()
					s.after(2 * time.Minute)
					s.want("web", vm.Running, want)
					if st := s.state("web"); st.Health != vm.Healthy || !s.world.Runs("web") || st.Crashes > 1 {
						t.Errorf("runs %t: %+v", s.world.Runs("web"), st)
					}
					if kind == vm.GuestAnswered || kind == vm.GuestKept {
						s.good("web", 2)
					} else if s.world.Restored(s.id("web"), want) != 1 {
						t.Error("it was not restored")
					}
					s.end()
				})
			})
		}
	}
}

// A daemon that dies while a guest is written leaves it standing; the next one
// lets it go on, and keeps it once it has proved again that it is well.
func TestADaemonThatDiesWhileAGuestIsKeptHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.world.Saves(time.Minute)
		s.create("web", restoreThenHold)
		s.after(10 * time.Second)
		if s.world.Runs("web") {
			t.Fatal("it is not being kept")
		}
		s.world.Saves(0)
		s.kill()
		s.good("web", 1)
		s.after(2 * time.Minute)
		s.want("web", vm.Running, 1)
		if st := s.state("web"); st.Crashes != 0 || st.Health != vm.Healthy || !s.world.Runs("web") {
			t.Errorf("runs %t: %+v", s.world.Runs("web"), st)
		}
		s.end()
	})
}

// Its clock stood still with it, and nobody keeps it again who would tell it.
func TestAGuestThatStoodStillIsToldTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer s.end()
		s.world.Saves(time.Minute)
		s.create("web", restoreThenHold)
		s.after(10 * time.Second)
		if s.world.Runs("web") {
			t.Fatal("it is not being kept")
		}
		s.newSpec("web", func(s *vm.Spec) { s.Remedies = nil })
		s.kill()
		s.after(10 * time.Second)
		if n := s.world.Timed("web"); !s.world.Runs("web") || n == 0 {
			t.Errorf("it runs: %t, and was told the time %d times", s.world.Runs("web"), n)
		}
	})
}

// A daemon that is told to end lets it go on first: the next one may come much later.
func TestADaemonThatEndsWhileAGuestIsKeptLetsItRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.world.Saves(time.Minute)
		s.create("web", restoreThenHold)
		s.after(10 * time.Second)
		if s.world.Runs("web") {
			t.Fatal("it is not being kept")
		}
		s.end()
		if !s.world.Runs("web") {
			t.Error("no daemon is there, and the guest stands still")
		}
	})
}

// A guest that hung while no daemon looked is no known-good state, however well
// it was before.
func TestWhatAnEarlierDaemonSawIsNoProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		s.world.Break(fake.Faults{Keep: 1})
		s.create("web", restoreThenHold)
		s.after(10 * time.Second)
		s.life.Crash()
		s.world.Break(fake.Faults{})
		s.world.Hang(s.id("web"))
		s.end()
		s.boot()
		s.after(3 * time.Minute)
		if told := s.journal("web", vm.GuestKept.String()); len(told) != 1 || s.state("web").Good.Incarnation != 2 {
			t.Errorf("kept %v: %+v", told, s.state("web").Good)
		}
		s.end()
	})
}
