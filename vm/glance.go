package vm

import "time"

// Glance is what one look at a VMM's process shows, cheap enough for each round
// of a probe. Times count from the launch: see WaitedSince.
type Glance struct {
	State   string                // one of the words below
	Threads int                   // that live
	Blocked int                   // of them, that wait in the kernel uninterruptibly, mostly for a disk or for memory
	Ran     time.Duration         // on a processor, all threads together
	Waited  time.Duration         // for a processor while it could run: the thread that waited longest
	Waits   map[int]time.Duration // the same, of each thread
}

// The states of a process, as the kernel knows them.
const (
	ProcessRunning         = "running"
	ProcessSleeping        = "sleeping"
	ProcessUninterruptible = "uninterruptible" // in the kernel, mostly for a disk: nothing ends it there
	ProcessStopped         = "stopped"         // by SIGSTOP
	ProcessTraced          = "traced"          // by a debugger, which holds it
	ProcessZombie          = "zombie"          // ended, and its parent doesn't want to know
	ProcessGone            = "gone"            // it was there, and is no more
)

// VCPU is what one look at the thread of a guest's processor shows.
type VCPU struct {
	Thread int
	Began  uint64        // when the kernel made the thread: beside its number a name that is never used twice
	State  string        // one of the words above; empty: the VMM has no such thread
	Ran    time.Duration // on a processor, since it began
}

// WaitedSince is how long the one thread that waited most was kept from a
// processor since an earlier look. The difference of two Waited would hide a
// thread that waits now behind another that waited long ago.
func (g Glance) WaitedSince(earlier Glance) time.Duration {
	if len(g.Waits) == 0 || len(earlier.Waits) == 0 {
		return max(g.Waited-earlier.Waited, 0)
	}
	var most time.Duration
	for thread, waited := range g.Waits {
		most = max(most, waited-earlier.Waits[thread]) // of a new thread: all of it
	}
	return most
}
