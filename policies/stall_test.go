package policies_test

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhatIsNotHeldAgainstAGuest(t *testing.T) {
	waited := func(d time.Duration) vm.Glance { return vm.Glance{State: vm.ProcessSleeping, Waited: d} }
	round := func(took time.Duration, change func(*policies.Attempt)) policies.Attempt {
		a := policies.Attempt{Timeout: time.Second, Began: begin, Ended: begin.Add(took)}
		if change != nil {
			change(&a)
		}
		return a
	}
	for _, tt := range []struct {
		name string
		a    policies.Attempt
		want string // empty: it counts
	}{
		{"no answer in time", round(time.Second, nil), ""},
		{"a little over", round(1300*time.Millisecond, nil), ""},
		{"we heard of its end much too late", round(1400*time.Millisecond, nil), "was late for 28 %"},
		{"our looks came a little late", round(time.Second, func(a *policies.Attempt) { a.Overslept = 200 * time.Millisecond }), ""},
		{"our looks came late", round(time.Second, func(a *policies.Attempt) { a.Overslept = 300 * time.Millisecond }), "was late for 30 %"},
		{"first no processor, then no disk", round(3*time.Second, func(a *policies.Attempt) {
			a.Timeout, a.Between = 3*time.Second, 3*time.Second
			a.Before, a.After = waited(time.Minute), waited(time.Minute+680*time.Millisecond)
			a.IOStood, a.After.Blocked = 600*time.Millisecond, 1
		}), "from a processor for 22 % of the time, its VMM waited in the kernel while the host stood still for want of its disks for 20 %"},
		{"no processor, and a disk that keeps others waiting", round(3*time.Second, func(a *policies.Attempt) {
			a.Timeout, a.Between = 3*time.Second, 3*time.Second
			a.Before, a.After = waited(time.Minute), waited(time.Minute+680*time.Millisecond)
			a.IOStood = 2900 * time.Millisecond
		}), ""},
		{"no processor, and we were late", round(1150*time.Millisecond, func(a *policies.Attempt) {
			a.Before, a.After, a.Between = waited(time.Minute), waited(time.Minute+200*time.Millisecond), time.Second
		}), "for 20 % of the time, the daemon itself was late for 13 %"},
		{"a hang while the host has a little of everything", round(1050*time.Millisecond, func(a *policies.Attempt) {
			a.Before, a.After, a.Between = waited(time.Minute), waited(time.Minute+100*time.Millisecond), time.Second
			a.IOStood, a.Blocked = 90*time.Millisecond, true
		}), ""},
		{"it waits for a disk, as only a look between tells", round(time.Second, func(a *policies.Attempt) {
			a.IOStood, a.Between, a.Blocked = 850*time.Millisecond, 900*time.Millisecond, true
		}), "want of its disks for 94 %"},
		{"the daemon was stopped for a minute", round(61*time.Second, nil), "took 1m1s"},
		{"the clock went on by hours", round(5*time.Hour, nil), "took 5h0m0s"},
		{"the clock was set back", round(-time.Hour, nil), "set back"},
		{"our timer came late", round(time.Second, func(a *policies.Attempt) { a.Late = 3 * time.Second }), "began 3s late"},
		{"a little late", round(time.Second, func(a *policies.Attempt) { a.Late = 900 * time.Millisecond }), ""},
		{"kept waiting", round(time.Second, func(a *policies.Attempt) {
			a.Before, a.After, a.Between = waited(time.Minute), waited(time.Minute+300*time.Millisecond), 900*time.Millisecond
		}), "for 33 %"},
		{"hardly kept waiting", round(time.Second, func(a *policies.Attempt) {
			a.Before, a.After, a.Between = waited(time.Minute), waited(time.Minute+200*time.Millisecond), 900*time.Millisecond
		}), ""},
		{"one look says nothing", round(time.Second, func(a *policies.Attempt) { a.After = waited(time.Hour) }), ""},
		{"no memory, and a thread waited", round(time.Second, func(a *policies.Attempt) { a.MemoryWait, a.Before.Blocked = 40, 1 }), "want of its memory for 40 %"},
		{"no disk, and it waits", round(time.Second, func(a *policies.Attempt) { a.IOWait, a.After.State = 80, vm.ProcessUninterruptible }), "want of its disks for 80 %"},
		{"a disk that is busy", round(time.Second, func(a *policies.Attempt) { a.IOWait, a.After.Blocked = 39, 1 }), ""},
		{"a disk and memory that others wait for", round(time.Second, func(a *policies.Attempt) { a.IOWait, a.MemoryWait = 99, 99 }), ""},
		{"a disk that has only just begun to keep it waiting", round(time.Second, func(a *policies.Attempt) {
			a.IOWait, a.IOStood, a.After.Blocked, a.Between = 8, 850*time.Millisecond, 1, 900*time.Millisecond
		}), "want of its disks for 94 %"},
		{"a disk that kept others waiting meanwhile", round(time.Second, func(a *policies.Attempt) { a.IOStood, a.Between = 850*time.Millisecond, 900*time.Millisecond }), ""},
		{"our look didn't come", round(time.Second, func(a *policies.Attempt) { a.Unseen = true }), "did not look"},
		{"our look was not due", round(time.Millisecond, func(a *policies.Attempt) { a.Unseen = true }), ""},
		{"what this machine says of itself", round(time.Millisecond, func(a *policies.Attempt) { a.Local, a.IOWait = true, 99 }), ""},
		{"a long timeout", round(75*time.Second, func(a *policies.Attempt) { a.Timeout = time.Minute }), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := policies.Excused(tt.a)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestWhatAProcessAtWorkIs(t *testing.T) {
	ran := func(state string, d time.Duration) vm.Glance { return vm.Glance{State: state, Ran: d} }
	for _, tt := range []struct {
		now, before vm.Glance
		why         string
		certain     bool
	}{
		{ran(vm.ProcessRunning, 1), vm.Glance{}, "", false},
		{ran(vm.ProcessSleeping, 1), ran(vm.ProcessSleeping, 1), "", false},
		{ran(vm.ProcessStopped, 1), vm.Glance{}, "SIGSTOP", false},
		{ran(vm.ProcessTraced, 1), vm.Glance{}, "debugger", false},
		{ran(vm.ProcessZombie, 1), vm.Glance{}, "zombie", true},
		{ran(vm.ProcessUninterruptible, 1), vm.Glance{}, "", false},
		{ran(vm.ProcessUninterruptible, 2), ran(vm.ProcessUninterruptible, 1), "", false},
		{ran(vm.ProcessUninterruptible, 2), ran(vm.ProcessUninterruptible, 2), "stuck", false},
	} {
		why, certain := policies.AtWork(tt.now, tt.before)
		if certain != tt.certain || (why == "") != (tt.why == "") || !strings.Contains(why, tt.why) {
			t.Errorf("%s after %s: %q %v", tt.now.State, tt.before.State, why, certain)
		}
	}
}
