package actors_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func vcpu(thread int, state string) vm.VCPU {
	return vm.VCPU{Thread: thread, Began: uint64(thread), State: state, Ran: time.Second}
}

// A VMM that answers is sick all the same where a processor of its guest
// provably makes no progress. That it uses no time proves nothing.
func TestAProcessorThatMakesNoProgress(t *testing.T) {
	well := []vm.VCPU{vcpu(11, vm.ProcessSleeping), vcpu(12, vm.ProcessSleeping)}
	both := []int{11, 12}
	for _, tt := range []struct {
		story string
		told  []int
		there []vm.VCPU
		why   string // empty: nobody is blamed
	}{
		{"an idle guest that uses no time for an hour", both, well, ""},
		{"one is held by a debugger", both, []vm.VCPU{well[0], vcpu(12, vm.ProcessTraced)}, "vCPU 1 is stopped by a tracer"},
		{"one is stuck in the kernel", both, []vm.VCPU{vcpu(11, vm.ProcessUninterruptible), well[1]}, "vCPU 0 is stuck in the kernel"},
		{"one has ended", both, []vm.VCPU{well[0]}, "vCPU 1 is gone: its thread has ended"},
		{"one was taken out of the machine", []int{11}, []vm.VCPU{well[0]}, ""},
		{"threads that are another's", []int{1, 2}, well, ""},
		{"it tells of none any more", []int{}, nil, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, boots(time.Second))
			defer s.end()
			s.create("web", checked(vm.Check{Type: vm.CheckVMM}))
			s.after(time.Second)
			s.world.VCPUs("web", both, well)
			s.after(25 * time.Second)
			before := s.state("web").Revision
			s.world.VCPUs("web", tt.told, tt.there)
			if tt.why == "" {
				s.after(time.Hour)
				if st := s.state("web"); st.Crashes != 0 || st.Health != vm.Healthy || st.Revision != before {
					t.Errorf("%s: %s, %d crashes, %d writes in an hour: %s", tt.story, st.Health, st.Crashes, st.Revision-before, st.HealthWhy)
				}
				return
			}
			s.after(10*time.Second + 3*10*time.Second + time.Second)
			if st := s.state("web"); st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, "vmm: 3 of 3 failures in a row: "+tt.why) {
				t.Errorf("%s: %d crashes: %s", tt.story, st.Crashes, st.HealthWhy)
			}
		})
	}
}

// A processor that waits for a disk which the whole host waits for is not the
// guest's failure (P16).
func TestAProcessorThatWaitsForTheHostIsExcused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(vm.Check{Type: vm.CheckVMM}))
		s.after(time.Second)
		s.world.Strain(host.Pressure{IO: 90})
		s.world.VCPUs("web", []int{11}, []vm.VCPU{vcpu(11, vm.ProcessUninterruptible)})
		s.after(10 * time.Minute)
		s.unharmed("web")
		if st := s.state("web"); !strings.Contains(st.HealthWhy, "not judged: its VMM waited in the kernel") {
			t.Errorf("nobody says why it isn't judged: %q", st.HealthWhy)
		}
		s.world.Strain(host.Pressure{})
		s.after(31 * time.Second)
		if st := s.state("web"); st.Crashes != 1 {
			t.Errorf("the host waits no more: %s: %s", st.Health, st.HealthWhy)
		}
	})
}

// A stall of the host's disks that is younger than ten seconds shows in no
// average of them. A processor that is seen stuck fails its round at once, before
// that has looked at anything: what the host stood still is told by the round before.
func TestAShortStallOfTheHostIsSeenByARoundThatFailsAtOnce(t *testing.T) {
	const step = 100 * time.Millisecond
	for _, tt := range []struct {
		story   string
		stood   time.Duration // of each step
		starved time.Duration // the same, of another thread of the VMM
		crashes uint64
	}{
		{"all the host waits", step, 0, 0},
		{"the host waits for a third of the time", step / 3, 0, 0},
		{"others wait now and then", step / 10, 0, 1},
		{"nobody else waits", 0, 0, 1},
		{"another processor of it burns, and is kept from the host's", 0, step / 2, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newProbed(t, boots(time.Second))
			defer func() { s.end() }()
			s.create("web", checked(vm.Check{Type: vm.CheckVMM, Interval: time.Second, Failures: 2}))
			s.world.VCPUs("web", []int{11}, []vm.VCPU{vcpu(11, vm.ProcessSleeping)})
			s.after(10 * time.Second)
			s.world.VCPUs("web", []int{11}, []vm.VCPU{vcpu(11, vm.ProcessUninterruptible)})
			stood, starved := time.Hour, time.Duration(0) // since the machine's boot, and the VMM's
			for range 4 * time.Second / step {
				stood, starved = stood+tt.stood, starved+tt.starved
				s.world.Glances("web", vm.Glance{State: vm.ProcessSleeping, Waited: starved, Waits: map[int]time.Duration{11: 0, 12: starved}})
				s.world.Strain(host.Pressure{IO: 20, IOStood: stood})
				s.after(step)
			}
			s.world.VCPUs("web", []int{11}, []vm.VCPU{vcpu(11, vm.ProcessSleeping)})
			s.after(5 * time.Second)
			if st := s.state("web"); st.Crashes != tt.crashes {
				t.Errorf("%s: %d crashes: %s %s", tt.story, st.Crashes, st.Health, st.HealthWhy)
			}
		})
	}
}

// What its processors did is told of each round of a VMM, in the bundle alone;
// who adopts a VMM knows by which command line it was launched.
func TestTheBundleOfAnAdoptedVMMTellsWhatItWasAndDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(vm.Check{Type: vm.CheckVMM}))
		s.after(25 * time.Second)
		s.life.Crash()
		s.end()
		s.boot()
		s.after(45 * time.Second)
		s.world.Smite(s.id("web"))
		s.after(time.Minute)
		all := s.kept("web")
		if len(all) != 1 || all[0].Notes == nil {
			t.Fatalf("bundles: %+v", all)
		}
		n := all[0].Notes
		if !slices.Equal(n.Argv, []string{"/fake/vmm"}) {
			t.Errorf("it was launched by %q", n.Argv)
		}
		var did []string
		for _, r := range n.Rounds {
			did = append(did, r.Detail)
		}
		if len(did) < 4 || did[0] != "1 vCPU" || slices.ContainsFunc(did[1:], func(d string) bool { return d != "1 vCPU, 0 % busy" }) {
			t.Errorf("the rounds tell %q", did)
		}
	})
}
