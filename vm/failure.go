package vm

import (
	"fmt"
	"time"
)

// Cause is why an incarnation ended, or could not begin.
type Cause string

// The causes.
const (
	CauseGuestPoweroff  Cause = "guest-poweroff"
	CauseGuestReset     Cause = "guest-reset"
	CauseGuestPanic     Cause = "guest-panic"
	CauseVMMCrash       Cause = "vmm-crash"
	CauseOOMCgroup      Cause = "oom-cgroup"
	CauseOOMHost        Cause = "oom-host"
	CauseIOError        Cause = "io-error"
	CauseHealthFailed   Cause = "health-failed"
	CauseStartTransient Cause = "start-failed-transient"
	CauseStartPermanent Cause = "start-failed-permanent"
	CauseOperator       Cause = "killed-by-operator"
	CauseUs             Cause = "killed-by-us"
	CauseHostReboot     Cause = "host-reboot"
	CauseLinkLost       Cause = "link-lost"   // a tap was taken away under the running guest
	CauseSavedState     Cause = "saved-state" // what a suspended guest left doesn't load: gone, damaged, or of another machine
	CauseUnknown        Cause = "unknown"
)

// Causes returns every cause.
func Causes() []Cause {
	return []Cause{
		CauseGuestPoweroff, CauseGuestReset, CauseGuestPanic, CauseVMMCrash, CauseOOMCgroup, CauseOOMHost,
		CauseIOError, CauseHealthFailed, CauseStartTransient, CauseStartPermanent, CauseOperator, CauseUs,
		CauseHostReboot, CauseLinkLost, CauseSavedState, CauseUnknown,
	}
}

// Failure is the end of an incarnation with its evidence. The run actor panics
// with one; supervision turns it into a Decision.
type Failure struct {
	Incarnation Incarnation `json:"incarnation"`
	Cause       Cause       `json:"cause"`
	Evidence    string      `json:"evidence"` // one line for people; what a guest wrote in it is made visible before a terminal sees it
	At          time.Time   `json:"at"`
	Exit        *Exit       `json:"exit,omitempty"` // nil where no process ended
	Alive       bool        `json:"-"`              // the VMM may still live and has to be killed
	Silent      bool        `json:"-"`              // with Alive: the VMM answers nothing, so that only a kill ends it
	LostGood    Incarnation `json:"-"`              // whose known-good state is not on the disk, though the record names it; 0: nothing is known to be lost
	Ready       bool        `json:"ready"`          // the guest had answered in this incarnation
	Confidence  Confidence  `json:"confidence,omitempty"`
	Notes       *Notes      `json:"-"` // for the bundle; nil: nobody took any
}

// Confidence is how sure a cause is.
type Confidence string

// How sure; empty in records of an older daemon.
const (
	Certain Confidence = "certain" // somebody who knows has said so: the kernel, the VMM, a person's request
	Likely  Confidence = "likely"  // it follows from what was seen
	Guessed Confidence = "guessed" // what is left when nothing else fits
)

// Error makes a Failure a panic value that reads well in a log.
func (f Failure) Error() string { return fmt.Sprintf("%s: %s", f.Cause, f.Evidence) }

// Exit is how a VMM process ended, as far as it can be known.
type Exit struct {
	Known  bool      `json:"known"`            // false: not our child, or gone while no daemon looked
	Code   int       `json:"code"`             // exit status, where no signal ended it
	Signal int       `json:"signal,omitempty"` // the signal's number, or 0
	Core   bool      `json:"core,omitempty"`   // the kernel has made a core of it, and put it where it was told to
	At     time.Time `json:"at"`

	Result     string        `json:"result,omitempty"`     // systemd's word, empty under the process launcher: exit-code, signal, core-dump, oom-kill, …
	MemoryPeak Bytes         `json:"memoryPeak,omitempty"` // 0: not known
	CPU        time.Duration `json:"cpu,omitempty"`        // processor time used; 0: not known
	OOM        *OutOfMemory  `json:"oom,omitempty"`        // the kernel killed it for want of memory; nil: it didn't, or nobody can tell
}

// Process is the proof of which process is ours: a pid alone proves nothing.
type Process struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // field 22 of /proc/PID/stat, in clock ticks since boot
	BootID    BootID `json:"bootId"`
	Unit      string `json:"unit"`     // name of the unit or process, for people
	Launcher  string `json:"launcher"` // which launcher has it: process or systemd
}

// Do is what supervision decides.
type Do string

// What can be decided.
const (
	RestartNow Do = "restart"
	BackOff    Do = "backoff"
	GiveUp     Do = "give-up"
	StayDown   Do = "stay-down" // its policy doesn't restart this kind of end
	Enqueue    Do = "enqueue"   // it waits for its turn after a boot of the node
)

// Decision is the answer of policies.Supervise, with its reason and numbers.
type Decision struct {
	Do      Do            `json:"do"`
	After   time.Duration `json:"after"`            // delay before the next try
	Charged bool          `json:"charged"`          // the failure counts against the budget
	Rule    string        `json:"rule"`             // short name of the rule that decided
	Why     string        `json:"why"`              // a sentence with the numbers
	Remedy  Remedy        `json:"remedy,omitempty"` // how a sick guest is ended or reset; empty: its VMM was gone, or is killed
}
