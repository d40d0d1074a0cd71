package actors_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

func TestGuestsAreAskedInTurnsAndSilentOnesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, quick)
		const talk, silent = 25, 5
		name := func(i int) vm.Name { return vm.Name(fmt.Sprintf("vm-%d", i)) }
		for i := range talk + silent {
			s.create(name(i), nil)
		}
		s.after(2 * time.Second)
		for i := range talk {
			s.world.Load(name(i), fake.Load{Memory: vm.MiB, Free: 40 * vm.MiB})
		}
		s.world.Load(name(0), fake.Load{Memory: vm.MiB, Free: vm.MaxMemory}) // a liar
		s.after(5 * time.Minute)
		for i := range talk {
			u := s.node.Usage(name(i))
			want := 40 * vm.MiB
			if i == 0 {
				want = 128 * vm.MiB
			}
			if u.GuestFree != want {
				t.Errorf("%s: %d free, want %d", name(i), u.GuestFree, want)
			}
			if n := s.world.Asked(name(i)); n < 8 || n > 15 {
				t.Errorf("%s was asked %d times in 30 samples of 10 guests each", name(i), n)
			}
		}
		for i := talk; i < talk+silent; i++ {
			if u := s.node.Usage(name(i)); u.GuestFree != 0 {
				t.Errorf("%s says nothing, and has %d free", name(i), u.GuestFree)
			}
			if n := s.world.Asked(name(i)); n < 1 || n > 6 {
				t.Errorf("%s, which says nothing, was asked %d times", name(i), n)
			}
		}
		s.world.Load(name(1), fake.Load{Memory: vm.MiB}) // its driver is gone
		s.after(5 * time.Minute)
		if u := s.node.Usage(name(1)); u.GuestFree != 0 {
			t.Errorf("a word of minutes ago still counts: %d", u.GuestFree)
		}
		s.end()
	})
}
