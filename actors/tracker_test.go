package actors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// tight is a machine with room for 8 vCPUs and 2 GiB.
var tight = vm.Capacity{CPUs: 2, Memory: 2*vm.GiB + 512*vm.MiB, Disk: 100 * vm.GiB}

func newTightStage(t *testing.T) *stage {
	s := &stage{t: t, store: persistence.NewMemory()}
	s.world = fake.New(1, fake.Watch{}, boots(time.Second), t.Logf)
	s.world.Grow(tight)
	s.boot()
	return s
}

// make asks for a VM that is left down, and says how it was refused.
func (s *stage) make(name vm.Name, memory vm.Bytes) *vm.Refusal {
	spec := vm.Spec{Name: name, Memory: memory}.Filled()
	_, err := s.node.Create(context.Background(), messages.Create{Spec: spec})
	r, _ := errors.AsType[*vm.Refusal](err)
	return r
}

func (s *stage) respec(name vm.Name, memory vm.Bytes) *vm.Refusal {
	spec := vm.Spec{Name: name, Memory: memory}.Filled()
	_, err := s.node.Ask(context.Background(), name, messages.Ask{Event: vm.SpecAsked, Spec: &spec})
	r, _ := errors.AsType[*vm.Refusal](err)
	return r
}

// balanced holds the node's word on what is promised against the records.
func (s *stage) balanced() vm.NodeResources {
	s.t.Helper()
	synctest.Wait()
	known, err := s.node.Resources(context.Background(), false)
	if err != nil {
		s.t.Fatal(err)
	}
	var sum vm.Reserved
	for _, r := range s.node.List() {
		sum = sum.Plus(r.Holds())
	}
	if known.Reserved != sum || known.VMs != len(s.node.List()) {
		s.t.Errorf("%d VMs hold %+v, the node says %d hold %+v", len(s.node.List()), sum, known.VMs, known.Reserved)
	}
	return known
}

func refusedAs(t *testing.T, r *vm.Refusal, code vm.Code, words ...string) {
	t.Helper()
	if r == nil || r.Code != code {
		t.Fatalf("%v, want %s", r, code)
	}
	for _, w := range words {
		if !strings.Contains(r.Why+r.Try, w) {
			t.Errorf("%q is not in %q, try %q", w, r.Why, r.Try)
		}
	}
}

func TestAVMThatDoesNotFitIsRefusedUntilAnotherGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		if r := s.make("first", vm.GiB); r != nil {
			t.Fatal(r)
		}
		refusedAs(t, s.make("second", vm.GiB), vm.NoRoom, "needs 1.1GiB of memory", "of 2GiB free", "by 1 VM", "2.5GiB × 1 − 512MiB", "lower memory to at most")
		if _, err := s.node.Needs(vm.Spec{Name: "second", Memory: vm.GiB}.Filled()); err == nil {
			t.Error("a dry run finds room where the real one doesn't")
		}
		if need, err := s.node.Needs(vm.Spec{Name: "second", Memory: 512 * vm.MiB}.Filled()); err != nil || need.Memory <= 512*vm.MiB {
			t.Errorf("a dry run: %+v, %v", need, err)
		}
		s.balanced()
		s.kill()
		refusedAs(t, s.make("second", vm.GiB), vm.NoRoom)
		if err := s.ask("first", vm.DeleteAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		if r := s.make("second", vm.GiB); r != nil {
			t.Fatal(r)
		}
		s.balanced()
	})
}

func TestANewSpecIsAdmittedByItsDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer s.end()
		for _, name := range []vm.Name{"a", "b"} {
			if r := s.make(name, 800*vm.MiB); r != nil {
				t.Fatal(r)
			}
		}
		if r := s.respec("a", 1000*vm.MiB); r != nil {
			t.Fatal(r)
		}
		refusedAs(t, s.respec("b", 1200*vm.MiB), vm.NoRoom, "more of memory", "instead of")
		s.balanced()

		s.world.Grow(vm.Capacity{CPUs: 2, Memory: vm.GiB, Disk: tight.Disk})
		s.after(30 * time.Second)
		if over := s.balanced().Over; len(over) != 1 || !strings.Contains(over[0], "memory: ") {
			t.Fatalf("after it shrank: %v", over)
		}
		if len(s.node.List()) != 2 {
			t.Fatal("a VM was evicted")
		}
		refusedAs(t, s.make("c", 80*vm.MiB), vm.NoRoom)
		refusedAs(t, s.respec("a", 1001*vm.MiB), vm.NoRoom)
		if r := s.respec("a", 900*vm.MiB); r != nil {
			t.Fatalf("a shrink was refused: %s", r.Why)
		}
		s.world.Grow(tight)
		s.after(30 * time.Second)
		if over := s.balanced().Over; len(over) != 0 {
			t.Fatalf("after it grew: %v", over)
		}
		s.journalled("Overcommitted", "FitsAgain")
	})
}

// journalled wants events of these kinds, in this order.
func (s *stage) journalled(kinds ...string) {
	s.t.Helper()
	entries, err := s.store.Events(0, 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if len(kinds) > 0 && e.Kind == kinds[0] {
			kinds = kinds[1:]
		}
	}
	if len(kinds) > 0 {
		s.t.Errorf("nobody was told of %v", kinds)
	}
}

func TestOfCreationsOfOneNameOneWinsAndTheRestHoldNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer s.end()
		var all sync.WaitGroup
		var mu sync.Mutex
		codes := map[vm.Code]int{}
		for range 20 {
			all.Go(func() {
				r := s.make("web", 1500*vm.MiB) // two of them don't fit, and none may say so
				mu.Lock()
				defer mu.Unlock()
				if r == nil {
					r = &vm.Refusal{}
				}
				codes[r.Code]++
			})
		}
		all.Wait()
		if codes[""] != 1 || codes[vm.Exists] != 19 {
			t.Errorf("%v", codes)
		}
		s.balanced()
	})
}

func TestWhoeverFailsGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		if r := s.make("a", 300*vm.MiB); r != nil {
			t.Fatal(r)
		}
		full := errors.New("no space left on device")
		s.store.BeforeCommit = func(persistence.Turn) error { return full }
		refusedAs(t, s.make("b", vm.GiB), vm.Unavailable)
		refusedAs(t, s.respec("a", vm.GiB), vm.Unavailable)
		s.store.BeforeCommit = nil
		s.balanced()

		spec := vm.Spec{Name: "c", Autostart: vm.Autostart{DependsOn: []vm.Dependency{{VM: "c", Is: vm.IsRunning, Timeout: time.Second}}}}.Filled()
		if _, err := s.node.Create(context.Background(), messages.Create{Spec: spec}); err == nil {
			t.Error("a VM that waits for itself was created")
		}
		s.balanced()
		s.store.AfterCommit = func(turn persistence.Turn) error {
			if turn.Entry.Kind == vm.SpecAsked.String() {
				s.store.AfterCommit = nil
				panic("planted: the actor ends between the write and the answer")
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		bigger := vm.Spec{Name: "a", Memory: 400 * vm.MiB}.Filled()
		if _, err := s.node.Ask(ctx, "a", messages.Ask{Event: vm.SpecAsked, Spec: &bigger}); err == nil {
			t.Error("an actor that ended has answered")
		}
		s.balanced()
		if r := s.make("d", vm.GiB); r != nil {
			t.Errorf("something is still held: %s", r.Why)
		}
	})
}

func TestManyAtOnceNeverExceedTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		var all sync.WaitGroup
		for i := range 30 {
			name := vm.Name(fmt.Sprintf("vm-%d", i%10))
			all.Go(func() { s.make(name, 256*vm.MiB) })
			all.Go(func() { s.respec(name, 512*vm.MiB) })
			all.Go(func() { _ = s.ask(name, vm.DeleteAsked) })
		}
		all.Wait()
		s.after(time.Minute)
		known := s.balanced()
		if known.Reserved.Memory > known.Room.Memory || known.Reserved.CPUs > known.Room.CPUs {
			t.Errorf("%+v of %+v", known.Reserved, known.Room)
		}
		s.kill()
		if again := s.balanced(); again.Reserved != known.Reserved {
			t.Errorf("%+v became %+v by a restart", known.Reserved, again.Reserved)
		}
	})
}

func TestRecordsThatCannotBeReadStayPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		if r := s.make("a", 1500*vm.MiB); r != nil {
			t.Fatal(r)
		}
		rec, _ := s.node.Get("a")
		s.store.Damage(rec.ID)
		s.kill()
		refusedAs(t, s.make("b", vm.GiB), vm.NoRoom)
		known, _ := s.node.Resources(context.Background(), true)
		if known.Reserved.Memory != rec.Reservation.Memory || len(s.node.Status().Alerts) != 0 {
			t.Errorf("%+v is promised, alerts %v", known.Reserved, s.node.Status().Alerts)
		}
		s.after(10 * time.Minute)
		if i := slices.IndexFunc(s.node.Status().Alerts, func(a vm.Alert) bool { return a.Kind == vm.AlertUnreleased }); i >= 0 {
			t.Errorf("%+v", s.node.Status().Alerts[i])
		}
	})
}

// A VMM keeps what it was launched with until it has ended, and what it keeps is
// promised to nobody else (P12).
func TestASmallerSpecGivesNothingBackBeforeTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		if r := s.make("big", 1500*vm.MiB); r != nil {
			t.Fatal(r)
		}
		if err := s.ask("big", vm.StartAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.want("big", vm.Running, 1)
		before := s.balanced().Reserved
		if r := s.respec("big", 128*vm.MiB); r != nil {
			t.Fatal(r)
		}
		if after := s.balanced().Reserved; after != before {
			t.Errorf("its VMM has %+v, and by a smaller spec it counts with %+v", before, after)
		}
		refusedAs(t, s.make("second", vm.GiB), vm.NoRoom)
		s.kill() // a new daemon knows it, too
		if after := s.balanced().Reserved; after != before {
			t.Errorf("a new daemon counts %+v instead of %+v", after, before)
		}
		refusedAs(t, s.make("second", vm.GiB), vm.NoRoom)
		if r := s.respec("big", 1500*vm.MiB); r != nil {
			t.Fatalf("back to what runs: %s", r.Why)
		}
		if r := s.respec("big", 128*vm.MiB); r != nil {
			t.Fatal(r)
		}
		if err := s.ask("big", vm.RestartAsked); err != nil {
			t.Fatal(err)
		}
		s.after(time.Minute)
		s.want("big", vm.Running, 2)
		if after := s.balanced().Reserved; after.Memory > 256*vm.MiB {
			t.Errorf("it was started anew, and counts with %+v still", after)
		}
		if r := s.make("second", vm.GiB); r != nil {
			t.Error(r)
		}
		s.balanced()
	})
}
