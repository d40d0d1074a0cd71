// Package policies holds every decision as a pure function: no clock, dice,
// context, goroutine or logger. Time and random numbers come in as arguments.
package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// Turn is what comes into one turn of a VM.
type Turn struct {
	Event  vm.Event
	At     time.Time
	Spread float64   // random, in [0,1): for jitter
	BootID vm.BootID // of the node now
	By     string    // who asked
	Why    string    // detail of the event, for the journal

	Failure     *vm.Failure    // with VMMGone, GuestSick and what Remedied makes of it
	Process     *vm.Process    // with Launched, FoundReady and FoundStarting
	Health      vm.Health      // with HealthChanged and GuestAnswered
	HealthWhy   string         // what decided it
	Probes      []vm.Probed    // with these two: where each check stands; of GuestAnswered none where no check is set
	Spec        *vm.Spec       // with SpecAsked
	Reservation vm.Reservation // with SpecAsked: what was admitted for it
	Saved       *vm.SavedState // with GuestSaved
	LostGood    vm.Incarnation // with KeepFailed: whose known-good state is not on the disk any more; 0: it is only not written

	Reclaim bool // with PauseAsked and SuspendAsked: the node does it by itself, as the VM is idle; Why says more

	Rungs []int // with GuestSick, GuestToReset and GuestToRestart: what is used up of the remedies then; nil: as it was

	DiskFull string       // why the disk of the state folder has no room; empty: it has
	Decision *vm.Decision // with Rebooted, Enlisted, HeldBack and Dismissed: what AfterBoot decided; with Rungs: what Remedied did
}

// Outcome is what a turn decided.
type Outcome struct {
	Record  vm.Record
	Write   bool        // Record, Entry and Crash are to be made durable before anything is done
	Whole   bool        // the spec or the reservation changed
	Removed bool        // the VM's record is to be deleted
	Effects []vm.Effect // to be done after the write, in order
	Entry   vm.Entry
	Crash   *vm.Crash
	Refusal *vm.Refusal
}
