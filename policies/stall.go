package policies

import (
	"fmt"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// Attempt is what is known of one round of a check that failed. Whoever asked
// has looked at the VMM's process while the round lasted and after it.
type Attempt struct {
	Timeout      time.Duration
	Late         time.Duration // how much later than it was due it began
	Began, Ended time.Time
	Local        bool // what failed is a fact, however slow the host: a process's state, or what the guest itself counted

	Before, After vm.Glance     // of the VMM's process
	Between       time.Duration // from one look to the other; 0: there were not two
	Blocked       bool          // a look between the two saw it wait in the kernel
	Stuck         bool          // what failed is a thread that stood in the kernel from one to the other: it waited for no processor
	Unseen        bool          // the first look was to come soon after the begin, and had not when the round was over
	Overslept     time.Duration // by which our looks came late, all together

	MemoryWait, IOWait   float64       // of the node (PSI) in percent of ten seconds, as the round ended
	MemoryStood, IOStood time.Duration // the same between the two looks: ten seconds tell too late of what has just begun
}

// What a stall is.
const (
	keptWaiting = 0.25 // of a round, in which the host kept this VM from its work, or us from asking it
	underStrain = 40   // percent of ten seconds in which work of the node stood still for want of memory or its disks
	usualLate   = time.Second
)

// Excused says why a failed round doesn't count, or nothing: it was us, or the
// host, that stood still, and the guest is not to blame (P16). A node that is
// busy, but didn't keep this VM waiting, excuses nothing: one guest that keeps
// a disk busy would else hide every other's hang. A success always counts,
// however late it came.
func Excused(a Attempt) string {
	took := a.Ended.Sub(a.Began)
	switch {
	case took < 0:
		return "the clock was set back"
	case took > a.Timeout+max(a.Timeout, usualLate):
		return fmt.Sprintf("the daemon itself stood still: a round of at most %s took %s", a.Timeout, took.Round(time.Millisecond))
	case a.Late > max(a.Timeout, usualLate):
		return fmt.Sprintf("the daemon itself stood still: the round began %s late", a.Late.Round(time.Millisecond))
	case a.Local:
		return ""
	case a.Unseen && took >= a.Timeout:
		return "the daemon itself stood still: it did not look at the VMM when that was due"
	}
	if why := a.kept(took); why != "" {
		return why
	}
	what, percent := "memory", a.MemoryWait
	if a.IOWait > percent {
		what, percent = "disks", a.IOWait
	}
	if a.blocked() && percent >= underStrain {
		return fmt.Sprintf(stoodStill, what, int(percent))
	}
	return ""
}

const stoodStill = "its VMM waited in the kernel while the host stood still for want of its %s for %d %% of the time"

// kept adds up what a round lost to the host: the answer waits for a processor,
// then for a disk, and then for us to hear it, and whatever it was that took the
// time, the guest did not have it. So one bound holds for their sum, and not one
// for each. What the node stood still counts only where a look saw this VMM wait
// for it. A guest that hangs waits for nothing, so only our own lateness excuses
// it, and only as long as that lasts.
func (a Attempt) kept(took time.Duration) string {
	what, stood := "memory", a.MemoryStood
	if a.IOStood > stood {
		what, stood = "disks", a.IOStood
	}
	if !a.blocked() {
		stood = 0
	}
	starved, still := portion(a.After.WaitedSince(a.Before), a.Between), portion(stood, a.Between)
	if a.Stuck {
		starved = 0 // it was another thread, as of a guest that burns all it may have
	}
	late := portion(a.Overslept+max(0, took-a.Timeout), took)
	if starved+still+late < keptWaiting {
		return ""
	}
	var why []string
	for _, one := range []struct {
		share float64
		text  string
	}{
		{starved, fmt.Sprintf("the host kept its VMM from a processor for %d %% of the time", int(100*starved))},
		{still, fmt.Sprintf(stoodStill, what, int(100*still))},
		{late, fmt.Sprintf("the daemon itself was late for %d %% of the time", int(100*late))},
	} {
		if one.share >= 0.01 {
			why = append(why, one.text)
		}
	}
	return strings.Join(why, ", ")
}

// portion is how much of a time that is; 0 where the time isn't known.
func portion(part, of time.Duration) float64 {
	if of <= 0 {
		return 0
	}
	return min(1, float64(part)/float64(of))
}

// blocked says whether any look saw the VMM wait for something of the host's.
func (a Attempt) blocked() bool { return a.Blocked || Blocked(a.Before) || Blocked(a.After) }

// Blocked says whether the VMM waits in the kernel, mostly for a disk or memory.
func Blocked(g vm.Glance) bool { return g.Blocked > 0 || g.State == vm.ProcessUninterruptible }

// AtWork says why a VMM's process is not at work, or nothing, and whether that
// leaves no doubt. In the kernel it counts as stuck only where no thread of it
// has run since the look before: a disk is waited for now and then.
func AtWork(now, before vm.Glance) (why string, certain bool) {
	switch now.State {
	case vm.ProcessStopped:
		return "its VMM is stopped (SIGSTOP)", false
	case vm.ProcessTraced:
		return "its VMM is held by a debugger", false
	case vm.ProcessZombie:
		return "its VMM is a zombie", true
	case vm.ProcessUninterruptible:
		if before.State == now.State && before.Ran == now.Ran {
			return "its VMM is stuck in the kernel (uninterruptible), mostly for a disk", false
		}
	}
	return "", false
}
