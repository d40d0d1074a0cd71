package vm

import "strconv"

// Event is what may happen to a VM, as the lifecycle table knows it. Where an
// answer would depend on a condition, the event is split instead.
type Event uint8

// Asks come from people and plugins.
const (
	StartAsked Event = iota + 1
	StopAsked
	KillAsked // stop --force
	RestartAsked
	PauseAsked
	ResumeAsked
	ResetAsked
	DeleteAsked
	ForceDeleteAsked
	SpecAsked // a new spec was applied
	SuspendAsked

	// Facts come from the host. Each carries the incarnation that it speaks of.

	Launched       // the VMM process exists; its identity is known
	GuestAnswered  // the startup check passed, or the VMM answered where no check is set
	GuestReset     // a ready guest rebooted itself in place
	HealthChanged  // the probes' judgement changed
	VMMGone        // the VMM is proved gone; the turn carries the Failure
	GuestSick      // the VMM may live, but the incarnation is to end; the turn carries the Failure
	GuestToReset   // the same, and by the VM's remedies the incarnation goes on: its machine is reset in place
	GuestToRestart // the same, and by the VM's remedies the guest is asked to power off first
	GuestWasReset  // starting: the machine that was to be reset boots again
	FoundReady     // adoption: our VMM lives, and the guest had answered
	FoundStarting  // adoption: our VMM lives, the guest had not answered yet
	FoundUnwanted  // adoption: our VMM lives, but the VM is not wanted up any more
	FoundNone      // adoption: none lives, and nobody knows whether it was launched
	GuestSaved     // suspending: the guest's state is whole on the disk; the turn carries it
	SaveFailed     // suspending: it could not be saved, and the guest is to go on
	GuestLoaded    // starting: a saved guest is whole in its VMM, and stands still
	GuestKept      // the guest's known-good state is whole on the disk; the turn carries it
	KeepFailed     // it could not be written, and the guest runs on; Why says why
	OutOfSpace     // the VMM stopped the guest, as a disk can't grow; Why says which
	SpaceBack      // there is room again for what stopped by OutOfSpace
	WentDeaf       // the VMM lives and its guest had answered, and its control socket is gone; Why says more
	HeardAgain     // a VMM that was deaf has answered
	KillConfirmed  // killing: no VMM of this incarnation lives

	// The release of what an incarnation held, split by what comes after it (Record.After).

	ReleasedToStop
	ReleasedToRestart
	ReleasedToBackoff
	ReleasedToHold
	ReleasedToRemove
	ReleasedToSuspend

	Discarded // the folder of a removed VM is gone

	// Ticks come from the clock. Each carries the revision that armed it.

	DeadlinePassed

	Woke // the VM's actor started and found this record: our own crash, or an orderly start

	// The node's boots and ends. What wakes up in a new boot of the node finds
	// nothing of its incarnation left; which of the four it is, policies.Woken says.

	Rebooted   // its incarnation was begun in another boot; the turn carries the Failure
	Enlisted   // it is to come up, when its turn comes
	HeldBack   // it is wanted up, and its autostart policy holds it
	Dismissed  // it is wanted up, and its autostart policy leaves that to a person
	Shelved    // the same, and its guest is saved: it stays suspended
	CalledUp   // its turn in the bootstrap has come
	NodeEnding // the node goes down: it is to end, and to come back at the next boot

	eventsEnd
)

var eventNames = [...]string{
	StartAsked: "StartAsked", StopAsked: "StopAsked", KillAsked: "KillAsked", RestartAsked: "RestartAsked",
	PauseAsked: "PauseAsked", ResumeAsked: "ResumeAsked", ResetAsked: "ResetAsked", DeleteAsked: "DeleteAsked",
	ForceDeleteAsked: "ForceDeleteAsked", SpecAsked: "SpecAsked", SuspendAsked: "SuspendAsked",
	GuestSaved: "GuestSaved", SaveFailed: "SaveFailed", GuestLoaded: "GuestLoaded", GuestKept: "GuestKept", KeepFailed: "KeepFailed", OutOfSpace: "OutOfSpace", SpaceBack: "SpaceBack",
	Launched: "Launched", GuestAnswered: "GuestAnswered", GuestReset: "GuestReset",
	HealthChanged: "HealthChanged", VMMGone: "VMMGone", GuestSick: "GuestSick",
	GuestToReset: "GuestToReset", GuestToRestart: "GuestToRestart", GuestWasReset: "GuestWasReset", FoundReady: "FoundReady",
	FoundStarting: "FoundStarting", FoundUnwanted: "FoundUnwanted", FoundNone: "FoundNone", KillConfirmed: "KillConfirmed",
	ReleasedToStop: "ReleasedToStop", ReleasedToRestart: "ReleasedToRestart", ReleasedToBackoff: "ReleasedToBackoff",
	ReleasedToHold: "ReleasedToHold", ReleasedToRemove: "ReleasedToRemove", ReleasedToSuspend: "ReleasedToSuspend",
	Discarded: "Discarded", DeadlinePassed: "DeadlinePassed", Woke: "Woke",
	Rebooted: "Rebooted", Enlisted: "Enlisted", HeldBack: "HeldBack", Dismissed: "Dismissed", Shelved: "Shelved", CalledUp: "CalledUp",
	NodeEnding: "NodeEnding", WentDeaf: "WentDeaf", HeardAgain: "HeardAgain",
}

// Events returns every event, in order.
func Events() []Event {
	out := make([]Event, 0, eventsEnd-1)
	for e := StartAsked; e < eventsEnd; e++ {
		out = append(out, e)
	}
	return out
}

// String is the event's name in the code and on the lifecycle page.
func (e Event) String() string {
	if int(e) < len(eventNames) && eventNames[e] != "" {
		return eventNames[e]
	}
	return "Event(" + strconv.Itoa(int(e)) + ")"
}

// MarshalText writes the name.
func (e Event) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads the name.
func (e *Event) UnmarshalText(b []byte) error {
	names := make(map[Event]string, len(eventNames))
	for one := StartAsked; one < eventsEnd; one++ {
		names[one] = eventNames[one]
	}
	return parseText(names, "event", b, e)
}

// Asked says whether people send this event.
func (e Event) Asked() bool { return e >= StartAsked && e <= SuspendAsked }
