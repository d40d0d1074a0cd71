package actors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// A VMM that writes a dump refuses to halt its guest or to let it run. What a
// person asked meanwhile is in the record already, so it is done afterwards.
func TestWhatIsAskedWhileADumpIsWrittenIsDoneAfterIt(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, while []vm.Event
		phase         vm.Phase
		runs          bool
	}{
		{"nothing", nil, nil, vm.Running, true},
		{"nothing of a guest that is paused", []vm.Event{vm.PauseAsked}, nil, vm.Paused, false},
		{"pause", nil, []vm.Event{vm.PauseAsked}, vm.Paused, false},
		{"resume", []vm.Event{vm.PauseAsked}, []vm.Event{vm.ResumeAsked}, vm.Running, true},
		{"both", nil, []vm.Event{vm.PauseAsked, vm.ResumeAsked}, vm.Running, true},
		{"both the other way", []vm.Event{vm.PauseAsked}, []vm.Event{vm.ResumeAsked, vm.PauseAsked}, vm.Paused, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, boots(time.Second))
				defer func() { s.end() }()
				s.create("web", checked(agentCheck))
				s.after(10 * time.Second)
				s.askAll("web", tt.before)
				s.after(time.Second)
				s.world.Dumps(20 * time.Second)
				ended := make(chan error, 1)
				go func() {
					_, _, err := s.node.Dump(t.Context(), "web", vm.DumpKdump, messages.Caller{})
					ended <- err
				}()
				s.after(5 * time.Second)
				s.askAll("web", tt.while)
				s.after(5 * time.Second)
				if s.world.Runs("web") {
					t.Error("the guest runs while its memory is written")
				}
				s.after(11 * time.Second)
				if err := <-ended; err != nil {
					t.Errorf("the dump: %v", err)
				}
				s.want("web", tt.phase, 1)
				if runs := s.world.Runs("web"); runs != tt.runs {
					t.Errorf("the record says %s, and that the guest runs is %v", tt.phase, runs)
				}
			})
		})
	}
}

func (s *stage) askAll(name vm.Name, all []vm.Event) {
	s.t.Helper()
	for _, e := range all {
		if err := s.ask(name, e); err != nil {
			s.t.Fatal(err)
		}
	}
}

// It stands still for as long as that takes.
func TestAGuestThatWasDumpedIsNotBlamedForItsSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} })
		defer func() { s.end() }()
		s.create("web", checked(agentCheck))
		s.after(15 * time.Second)
		s.world.Dumps(5 * time.Minute)
		go func() { _, _, _ = s.node.Dump(t.Context(), "web", vm.DumpKdump, messages.Caller{}) }()
		s.after(time.Second)
		pings := s.pings.Load()
		s.after(4 * time.Minute)
		if n := s.pings.Load(); n != pings {
			t.Errorf("%d pings of a guest that stands still", n-pings)
		}
		s.after(2 * time.Minute)
		if s.pings.Load() == pings {
			t.Error("nobody asks it again")
		}
		s.unharmed("web")
	})
}

// refuses is a VMM that is not halted, as if the daemon had ended before it asked.
type refuses struct{ host.Driver }

func (d refuses) Attach(ctx context.Context, sp vm.Spec, f host.Paths, n func(host.Notice)) (host.Session, error) {
	one, err := d.Driver.Attach(ctx, sp, f, n)
	return refusing{one}, err
}

type refusing struct{ host.Session }

func (refusing) Pause(context.Context) error {
	return host.Fail(host.Transient, "stop", context.DeadlineExceeded)
}

func TestAGuestThatRunsThoughTheRecordSaysPausedIsHaltedByTheNextDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.wrap = func(p host.Ports) host.Ports {
			p.Driver = refuses{p.Driver}
			return p
		}
		s.kill()
		s.create("web", checked(agentCheck))
		s.after(10 * time.Second)
		s.askAll("web", []vm.Event{vm.PauseAsked})
		s.after(time.Second)
		s.want("web", vm.Paused, 1)
		s.wrap = nil
		s.kill()
		s.after(5 * time.Second)
		s.want("web", vm.Paused, 1)
		if s.world.Runs("web") {
			t.Error("the record says paused, and the guest runs")
		}
	})
}

// The journal tells of dumps that began, not of those that were refused.
func TestARefusedDumpIsNotToldAsOneThatBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck))
		s.after(10 * time.Second)
		by := messages.Caller{UID: 7}
		if _, _, err := s.node.Dump(t.Context(), "web", vm.DumpKdump, by); err != nil {
			t.Fatal(err)
		}
		if told := s.told("DumpAsked"); len(told) != 1 || told[0].Name != "web" || told[0].By != by.String() {
			t.Errorf("the journal tells of the dump %v", told)
		}
		s.askAll("web", []vm.Event{vm.StopAsked})
		s.after(time.Minute)
		if _, _, err := s.node.Dump(t.Context(), "web", vm.DumpKdump, by); err == nil {
			t.Error("a stopped guest was dumped")
		}
		if told := s.told("DumpAsked"); len(told) != 1 {
			t.Errorf("the journal tells of dumps: %v", told)
		}
	})
}
