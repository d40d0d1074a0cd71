package vm

import "time"

// Record is all that is durable of one VM. policies.Next makes the next one;
// the VM's actor alone writes it.
type Record struct {
	ID          ID          `json:"id"`
	Slot        uint32      `json:"slot"` // small number, unique on the node while the VM exists: links and VMM uid derive from it
	Spec        Spec        `json:"spec"`
	Reservation Reservation `json:"reservation"`
	State       State       `json:"state"`
}

// MaxSlot bounds Record.Slot: each slot has a uid of its own (host.Owners).
const MaxSlot = 100_000_000

// Reservation is what admission holds for a VM from creation to deletion (P7,
// P12). That of a record is its spec's; see Record.Holds.
type Reservation struct {
	CPUs   int   `json:"cpus"`
	Memory Bytes `json:"memory"` // guest RAM and the VMM's own overhead
	Disk   Bytes `json:"disk"`
}

// State is the part of a record that turns change.
type State struct {
	Revision    Revision    `json:"revision"`
	Intent      Intent      `json:"intent"`
	Phase       Phase       `json:"phase"`
	PhaseSince  time.Time   `json:"phaseSince"`
	Deadline    time.Time   `json:"deadline"`         // zero where the phase doesn't wait; in Backoff: the next try
	Reason      string      `json:"reason"`           // a sentence: why this phase
	After       After       `json:"after"`            // what follows once this incarnation is released
	Killer      Cause       `json:"killer,omitempty"` // since Killing: killed-by-operator or killed-by-us
	Incarnation Incarnation `json:"incarnation"`
	BootID      BootID      `json:"bootId"` // boot in which Incarnation was begun
	Process     *Process    `json:"process,omitempty"`
	LaunchedAt  time.Time   `json:"launchedAt"`          // zero: this incarnation was not launched yet
	ReadyAt     time.Time   `json:"readyAt"`             // zero: the guest of this incarnation has not answered yet
	AskedDown   bool        `json:"askedDown,omitempty"` // since it was last asked up: nothing but a person brings it up (P5)
	Queued      bool        `json:"queued,omitempty"`    // in Backoff: waits for its turn after a boot of the node
	Pending     bool        `json:"pending,omitempty"`   // a launch would differ from this incarnation by a spec that came since it began
	Runs        *Began      `json:"runs,omitempty"`      // with Pending: what this incarnation was begun with; nil: an older daemon didn't say
	Stalled     string      `json:"stalled,omitempty"`   // in Paused: which disk can't grow; empty: a person paused it
	Reclaimed   bool        `json:"reclaimed,omitempty"` // in Paused and Suspended: the node did that by itself, as the VM was idle
	Saved       *SavedState `json:"saved,omitempty"`     // the next start loads it; nil: it boots
	Good        *SavedState `json:"good,omitempty"`      // the known-good state: the guest as it was when it became healthy, for the remedy restore; nil: none
	GoodWhy     string      `json:"goodWhy,omitempty"`   // why this incarnation has left none; empty: it has, or nobody has tried
	Restore     Incarnation `json:"restore,omitempty"`   // the incarnation that begins with Good, until that is loaded; 0: none does
	Loaded      Incarnation `json:"loaded,omitempty"`    // the last one that began with Saved or Good
	Hardware    string      `json:"hardware,omitempty"`  // Spec.Hardware of what Incarnation was begun with; empty: an older daemon began it
	Deaf        string      `json:"deaf,omitempty"`      // why nobody can speak to this VMM, though it lives; empty: somebody can
	ResetDue    bool        `json:"resetDue,omitempty"`  // in Starting: the machine is to be reset in place, and what it does until then proves nothing
	Health      Health      `json:"health"`
	HealthSince time.Time   `json:"healthSince"`
	HealthWhy   string      `json:"healthWhy,omitempty"`
	Probes      []Probed    `json:"probes,omitempty"`     // of this incarnation; a check that has said nothing yet is left out
	Rungs       []int       `json:"rungs,omitempty"`      // how often each of Spec.Remedies was taken since the ledger was cleared
	LastHealth  Health      `json:"lastHealth,omitempty"` // when an incarnation was last up: bootstrap asks for it
	Ledger      []time.Time `json:"ledger,omitempty"`     // charged failures since the last reset, oldest first, at most MaxLedger
	Tries       int         `json:"tries"`                // consecutive charged failures: the exponent of the delay
	Spared      int         `json:"spared,omitempty"`     // consecutive failures that were not charged: they slow the restarts and never end them
	Restarts    uint64      `json:"restarts"`             // incarnations that supervision began
	Crashes     uint64      `json:"crashes"`              // number of the last crash record
	LastExit    *Crash      `json:"lastExit,omitempty"`
	CreatedAt   time.Time   `json:"createdAt"`
}

// MaxLedger bounds the ledger; the largest budget that Spec.Check lets through is one less.
const MaxLedger = 101

// After is what follows the release of an incarnation.
type After string

// What can follow.
const (
	ThenStop    After = ""
	ThenRestart After = "restart"
	ThenBackoff After = "backoff"
	ThenHold    After = "hold"
	ThenRemove  After = "remove"
	ThenSuspend After = "suspend"
)

// Released is the event that the end of a release is, by what comes after it.
func (a After) Released() Event {
	switch a {
	case ThenRestart:
		return ReleasedToRestart
	case ThenBackoff:
		return ReleasedToBackoff
	case ThenHold:
		return ReleasedToHold
	case ThenRemove:
		return ReleasedToRemove
	case ThenSuspend:
		return ReleasedToSuspend
	case ThenStop:
		return ReleasedToStop
	}
	panic("vm: unknown After " + string(a))
}

// Ref names one incarnation of one VM wherever the host is spoken to.
type Ref struct {
	VM          ID
	Name        Name
	Slot        uint32
	Incarnation Incarnation
	BootID      BootID
}

// Ref is the record's current incarnation.
func (r *Record) Ref() Ref {
	return Ref{VM: r.ID, Name: r.Spec.Name, Slot: r.Slot, Incarnation: r.State.Incarnation, BootID: r.State.BootID}
}

// Entry is one line of the node's journal of events: durable in the batch of
// the turn that it tells of.
type Entry struct {
	Sequence    uint64        `json:"sequence"` // given by the store at commit
	At          time.Time     `json:"at"`
	VM          ID            `json:"vm,omitempty"`
	Name        Name          `json:"name,omitempty"`
	Kind        string        `json:"kind"` // the vm.Event's name, or a kind of the node: DaemonStarted, …
	From        Phase         `json:"from,omitempty"`
	To          Phase         `json:"to,omitempty"`
	Incarnation Incarnation   `json:"incarnation,omitempty"`
	Revision    Revision      `json:"revision,omitempty"`
	Cause       Cause         `json:"cause,omitempty"`
	Decision    Do            `json:"decision,omitempty"`
	Delay       time.Duration `json:"delay,omitempty"`
	Why         string        `json:"why"`
	By          string        `json:"by,omitempty"` // who asked: "uid=0 pid=4711 cli"
}
