package policies

import (
	"fmt"
	"time"

	"github.com/blixard/blixard/vm"
)

// What a guest's processors do is seen from outside by the VMM's threads that
// run them. Using no processor time proves nothing: an idle guest uses none for
// as long as it likes, and nothing that the host can see is work that a
// processor must take. Bytes that the guest's agent leaves unread lie in the
// VMM, which waits for the guest to make room for them, and a guest that ends
// its agent may be idle rightly. So standing still is never a failure of its
// own; beside a question that the guest left unanswered it is told as evidence.

// Followed is a look at the threads beside the one before it: those that were
// there and are no more are gone.
func Followed(now, before []vm.VCPU) []vm.VCPU {
	if len(now) != len(before) {
		return now
	}
	for i := range now {
		was, is := before[i], &now[i]
		ended := was.State == vm.ProcessGone || was.State != "" && (is.State == "" || is.Began != was.Began)
		if was.Thread == is.Thread && ended {
			*is = was
			is.State = vm.ProcessGone
		}
	}
	return now
}

// Standstill says which processor of a guest that runs provably makes no
// progress, or nothing. In the kernel it counts as stuck only where it was so in
// the look before, too. One that has run between two looks stands still in
// neither: a tracer that only listens stops it for a moment at each call.
func Standstill(now, before []vm.VCPU) string {
	for i, c := range now {
		again := len(before) == len(now) && before[i].State == c.State
		if again && before[i].Ran != c.Ran {
			continue
		}
		what := ""
		switch c.State {
		case vm.ProcessGone, vm.ProcessZombie:
			what = "is gone: its thread has ended"
		case vm.ProcessStopped:
			what = "is stopped (SIGSTOP)"
		case vm.ProcessTraced:
			what = "is stopped by a tracer"
		case vm.ProcessUninterruptible:
			if again {
				what = "is stuck in the kernel (uninterruptible) and has not run since the round before"
			}
		}
		if what != "" {
			return fmt.Sprintf("vCPU %d %s", i, what)
		}
	}
	return ""
}

// Waiting is how many processors wait in the kernel for something of the host's.
func Waiting(now []vm.VCPU) (n int) {
	for _, c := range now {
		if c.State == vm.ProcessUninterruptible {
			n++
		}
	}
	return n
}

// Work tells what the processors did since the look before: "2 vCPUs, 3 % busy".
func Work(now, before []vm.VCPU, between time.Duration) string {
	if len(now) == 0 {
		return ""
	}
	out := "1 vCPU"
	if len(now) > 1 {
		out = fmt.Sprintf("%d vCPUs", len(now))
	}
	if ran, of := ranSince(now, before, between); of > 0 {
		out += fmt.Sprintf(", %d %% busy", busyShare(ran, of))
	}
	return out
}

// nearlyIdle is below what a guest takes that does anything for somebody, in percent.
const nearlyIdle = 5

// Unanswering tells what the processors did while the guest left a question
// unanswered: whether it spins or sleeps is what a person asks first. Empty
// where nobody has seen it.
func Unanswering(now, before []vm.VCPU, between time.Duration) string {
	ran, of := ranSince(now, before, between)
	switch share := busyShare(ran, of); {
	case of == 0:
		return ""
	case ran == 0:
		return "its processors stand still"
	case share == 0:
		return "its processors are nearly idle: below 1 %"
	case share < nearlyIdle:
		return fmt.Sprintf("its processors are nearly idle: %d %%", share)
	default:
		return fmt.Sprintf("its processors are busy: %d %%", share)
	}
}

// ranSince is how long the threads ran from one look to the other, of the time
// that they could have; zero: nobody knows. Processors that take turns in one
// thread count once.
func ranSince(now, before []vm.VCPU, between time.Duration) (ran, of time.Duration) {
	if len(now) != len(before) || between <= 0 {
		return 0, 0
	}
	seen := make(map[int]bool, len(now))
	for i, c := range now {
		was := before[i]
		if seen[c.Thread] || c.State == "" || c.State == vm.ProcessGone || c.Thread != was.Thread || c.Began != was.Began {
			continue
		}
		seen[c.Thread] = true
		ran += min(max(c.Ran-was.Ran, 0), between)
		of += between
	}
	return ran, of
}

func busyShare(ran, of time.Duration) int {
	if of <= 0 {
		return 0
	}
	return int(100 * float64(ran) / float64(of))
}
