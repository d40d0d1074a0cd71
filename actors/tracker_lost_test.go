package actors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

func TestAParkedVMHoldsWhatItsRecordSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer s.end()
		if r := s.make("a", 300*vm.MiB); r != nil {
			t.Fatal(r)
		}
		s.store.BeforeCommit = func(persistence.Turn) error { panic("planted: a bug at each write") }
		bigger := vm.Spec{Name: "a", Memory: vm.GiB}.Filled()
		for range 6 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			if _, err := s.node.Ask(ctx, "a", messages.Ask{Event: vm.SpecAsked, Spec: &bigger}); err == nil {
				t.Error("an actor that ended has answered")
			}
			cancel()
			s.balanced()
		}
		s.store.BeforeCommit = nil
		refusedAs(t, s.respec("a", vm.GiB), vm.Internal, "parked")
		if r := s.make("b", vm.GiB); r != nil {
			t.Errorf("what a parked VM was refused is still held: %s", r.Why)
		}
	})
}

func TestARefusedSpecDoesNotComeBackFromADiskThatHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newTightStage(t)
		defer func() { s.end() }()
		if r := s.make("a", 300*vm.MiB); r != nil {
			t.Fatal(r)
		}
		s.store.AfterCommit = func(persistence.Turn) error {
			s.store.AfterCommit = nil
			return errors.New("planted: written, and told otherwise")
		}
		refusedAs(t, s.respec("a", 1500*vm.MiB), vm.Unavailable)
		if err := s.ask("a", vm.StartAsked); err != nil {
			t.Fatal(err)
		}
		if r := s.make("b", vm.GiB); r != nil {
			t.Fatal(r)
		}
		before := s.balanced()
		s.kill()
		if after := s.balanced(); after.Reserved != before.Reserved || len(after.Over) > 0 {
			t.Errorf("%+v became %+v by a restart: %v", before.Reserved, after.Reserved, after.Over)
		}
	})
}
