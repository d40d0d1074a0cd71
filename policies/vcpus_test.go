package policies_test

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func vcpu(thread int, state string, ran time.Duration) vm.VCPU {
	return vm.VCPU{Thread: thread, Began: uint64(thread) * 7, State: state, Ran: ran}
}

const (
	asleep = vm.ProcessSleeping
	inKern = vm.ProcessUninterruptible
)

func TestWhichProcessorMakesNoProgress(t *testing.T) {
	type look []vm.VCPU
	another := vcpu(11, asleep, 0)
	another.Began++
	for _, tt := range []struct {
		story       string
		before, now look
		want        string // empty: nothing is proved
	}{
		{"an idle guest", look{vcpu(11, asleep, time.Second)}, look{vcpu(11, asleep, time.Second)}, ""},
		{"a guest that spins", look{vcpu(11, vm.ProcessRunning, 1)}, look{vcpu(11, vm.ProcessRunning, 9)}, ""},
		{"runnable, and never on a processor: that is the host's", look{vcpu(11, vm.ProcessRunning, 1)}, look{vcpu(11, vm.ProcessRunning, 1)}, ""},
		{"nobody tells", nil, nil, ""},
		{"none of them could be found", look{{Thread: 11}}, look{{Thread: 11}}, ""},
		{"one that appears", look{{Thread: 11}}, look{vcpu(11, asleep, 1)}, ""},
		{"held by a debugger", nil, look{vcpu(11, asleep, 1), vcpu(12, vm.ProcessTraced, 1)}, "vCPU 1 is stopped by a tracer"},
		{"held still", look{vcpu(11, vm.ProcessTraced, 1)}, look{vcpu(11, vm.ProcessTraced, 1)}, "vCPU 0 is stopped by a tracer"},
		{"listened to by a tracer, and it ran between", look{vcpu(11, vm.ProcessTraced, 1)}, look{vcpu(11, vm.ProcessTraced, 9)}, ""},
		{"stopped", nil, look{vcpu(11, vm.ProcessStopped, 1)}, "vCPU 0 is stopped (SIGSTOP)"},
		{"its thread has ended", look{vcpu(11, asleep, 1), vcpu(12, asleep, 1)}, look{{Thread: 11}, vcpu(12, asleep, 1)}, "vCPU 0 is gone: its thread has ended"},
		{"its thread waits to be reaped", nil, look{vcpu(11, vm.ProcessZombie, 1)}, "vCPU 0 is gone"},
		{"another thread of the same number", look{vcpu(11, asleep, 1)}, look{another}, "vCPU 0 is gone"},
		{"in the kernel once", look{vcpu(11, asleep, 5)}, look{vcpu(11, inKern, 5)}, ""},
		{"in the kernel at the first look", nil, look{vcpu(11, inKern, 5)}, ""},
		{"in the kernel again, and it ran between", look{vcpu(11, inKern, 5)}, look{vcpu(11, inKern, 6)}, ""},
		{"stuck in the kernel", look{vcpu(11, inKern, 5)}, look{vcpu(11, inKern, 5)}, "vCPU 0 is stuck in the kernel"},
		{"stuck, among more than were there", look{vcpu(11, inKern, 5)}, look{vcpu(11, inKern, 5), vcpu(12, inKern, 5)}, ""},
		{"the first of two that do nothing", nil, look{vcpu(11, vm.ProcessTraced, 1), vcpu(12, vm.ProcessTraced, 1)}, "vCPU 0 is stopped"},
	} {
		got := policies.Standstill(policies.Followed(tt.now, tt.before), tt.before)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.story, got, tt.want)
		}
	}
}

func TestAProcessorThatIsGoneStaysGone(t *testing.T) {
	before := []vm.VCPU{vcpu(11, asleep, 5), vcpu(12, asleep, 5)}
	for round := range 4 {
		again := vcpu(12, asleep, time.Duration(round)) // its number is taken again
		again.Began = 99
		before = policies.Followed([]vm.VCPU{vcpu(11, asleep, 5), again}, before)
		if got := policies.Standstill(before, before); got != "vCPU 1 is gone: its thread has ended" {
			t.Fatalf("in round %d: %q", round+1, got)
		}
	}
}

func TestWhatProcessorsDid(t *testing.T) {
	type look []vm.VCPU
	const second = time.Second
	for _, tt := range []struct {
		story             string
		before, now       look
		between           time.Duration
		work, unanswering string
	}{
		{"nobody tells", nil, nil, second, "", ""},
		{"the first look", nil, look{vcpu(11, asleep, 5), vcpu(12, asleep, 5)}, 0, "2 vCPUs", ""},
		{"the clock was set back", look{vcpu(11, asleep, 5)}, look{vcpu(11, asleep, 6)}, -second, "1 vCPU", ""},
		{"tickless and idle", look{vcpu(11, asleep, 5)}, look{vcpu(11, asleep, 5)}, second, "1 vCPU, 0 % busy", "its processors stand still"},
		{
			"hardly anything",
			look{vcpu(11, asleep, 0), vcpu(12, asleep, 0)},
			look{vcpu(11, asleep, second*6/100), vcpu(12, asleep, 0)},
			second, "2 vCPUs, 3 % busy", "its processors are nearly idle: 3 %",
		},
		{"a tick now and then", look{vcpu(11, asleep, 0)}, look{vcpu(11, asleep, 1)}, second, "1 vCPU, 0 % busy", "its processors are nearly idle: below 1 %"},
		{"it spins", look{vcpu(11, asleep, 0)}, look{vcpu(11, asleep, second*98/100)}, second, "1 vCPU, 98 % busy", "its processors are busy: 98 %"},
		{"more than can be, as clocks differ", look{vcpu(11, asleep, 0)}, look{vcpu(11, asleep, 2*second)}, second, "1 vCPU, 100 % busy", "its processors are busy: 100 %"},
		{"less than before", look{vcpu(11, asleep, second)}, look{vcpu(11, asleep, 0)}, second, "1 vCPU, 0 % busy", "its processors stand still"},
		{
			"both take turns in one thread",
			look{vcpu(11, asleep, 0), vcpu(11, asleep, 0)},
			look{vcpu(11, asleep, second), vcpu(11, asleep, second)},
			second, "2 vCPUs, 100 % busy", "its processors are busy: 100 %",
		},
		{"threads that are not the VMM's", look{{Thread: 1}}, look{{Thread: 1}}, second, "1 vCPU", ""},
		{"one of two is gone", look{vcpu(11, asleep, 0), vcpu(12, asleep, 0)}, look{{Thread: 11}, vcpu(12, asleep, second/2)}, second, "2 vCPUs, 50 % busy", "its processors are busy: 50 %"},
	} {
		now := policies.Followed(tt.now, tt.before)
		if got := policies.Work(now, tt.before, tt.between); got != tt.work {
			t.Errorf("%s: %q, want %q", tt.story, got, tt.work)
		}
		if got := policies.Unanswering(now, tt.before, tt.between); got != tt.unanswering {
			t.Errorf("%s: %q, want %q", tt.story, got, tt.unanswering)
		}
	}
}

func TestProcessorsThatWaitForTheHost(t *testing.T) {
	if n := policies.Waiting([]vm.VCPU{vcpu(1, inKern, 0), vcpu(2, asleep, 0), vcpu(3, inKern, 0)}); n != 2 {
		t.Errorf("%d wait", n)
	}
	a := policies.Attempt{Timeout: time.Second, Began: begin, Ended: begin, After: vm.Glance{Blocked: 1}, IOWait: 60}
	if why := policies.Excused(a); !strings.Contains(why, "want of its disks") {
		t.Errorf("a vCPU that waits for a disk which everybody waits for: %q", why)
	}
}
