package policies

import (
	"fmt"
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
	Unseen        bool          // the first look was to come soon after the begin, and had not when the round was over

	MemoryWait, IOWait   float64       // of the node (PSI) in percent of ten seconds, as the round ended
	MemoryStood, IOStood time.Duration // the same between the two looks: ten seconds tell too late of what has just begun
}

// What a stall is.
const (
	keptWaiting = 0.25 // of the time between two looks, in which a thread of the VMM could have run, and had no processor
	underStrain = 40   // percent in which work of the node stood still for want of memory or its disks
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
	if waited := a.After.WaitedSince(a.Before); a.Between > 0 && float64(waited) >= keptWaiting*float64(a.Between) {
		return fmt.Sprintf("the host kept its VMM from a processor for %d %% of the time", int(min(100, 100*float64(waited)/float64(a.Between))))
	}
	if !blocked(a.Before) && !blocked(a.After) {
		return ""
	}
	for _, one := range []struct {
		what  string
		share float64
	}{{"memory", max(a.MemoryWait, a.of(a.MemoryStood))}, {"disks", max(a.IOWait, a.of(a.IOStood))}} {
		if one.share >= underStrain {
			return fmt.Sprintf("its VMM waited in the kernel while the host stood still for want of its %s for %d %% of the time", one.what, int(one.share))
		}
	}
	return ""
}

// of is the share of the time between two looks, in percent.
func (a Attempt) of(stood time.Duration) float64 {
	if a.Between <= 0 {
		return 0
	}
	return min(100, 100*float64(stood)/float64(a.Between))
}

// blocked says whether a look saw the VMM wait for something of the host's.
func blocked(g vm.Glance) bool { return g.Blocked > 0 || g.State == vm.ProcessUninterruptible }

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
