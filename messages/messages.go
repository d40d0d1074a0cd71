// Package messages is the vocabulary. Public messages are protobuf
// (blixard/v1); between actors there are three families of plain structs:
//
//	Ask    from people: wants an Answer
//	Fact   from the host: past tense, stamped with its incarnation
//	Tick   from the clock: stamped with the revision that armed it
package messages

import (
	"fmt"

	"github.com/blixard/blixard/vm"
)

// Ask: gateway → vm/<name>. May come twice; answered once, with an Answer.
type Ask struct {
	Event vm.Event // one of the asks
	By    Caller
	Spec  *vm.Spec // with SpecAsked
}

// Create: gateway → fleet. May come twice: the second is refused, the name is taken.
type Create struct {
	Spec  vm.Spec // filled and checked
	Start bool
	By    Caller
}

// Answer: vm/<name> or fleet → asker.
type Answer struct {
	Record  vm.Record   // after the turn
	Refusal *vm.Refusal // nil: done, durable
}

// Caller is who asks, as the kernel tells it (SO_PEERCRED).
type Caller struct {
	UID, GID, PID int
	Role          Role
	Name          string // "cli", a plugin's name, or empty
}

// String is the caller as the journal shows it.
func (c Caller) String() string {
	if c.Name == "" {
		return fmt.Sprintf("uid=%d pid=%d", c.UID, c.PID)
	}
	return fmt.Sprintf("uid=%d pid=%d %s", c.UID, c.PID, c.Name)
}

// Role is what a caller may do; each includes the ones before it.
type Role uint8

// The roles.
const (
	NoRole   Role = iota
	Viewer        // look
	Operator      // start, stop, restart, reset
	Admin         // create, change, delete
)

// Fact is what the host told about one incarnation: run-<n> → vm/<name>.
type Fact interface{ Of() vm.Incarnation }

// Launched: the VMM process exists. May come twice.
type Launched struct {
	Incarnation vm.Incarnation
	Process     vm.Process
}

// GuestAnswered: every critical check has passed once. May come twice.
type GuestAnswered struct{ HealthJudged }

// GuestReset: a ready guest rebooted in place. May come twice.
type GuestReset struct {
	Incarnation vm.Incarnation
	Why         string
}

// GuestWasReset: the machine that was to be reset boots again. May come late.
type GuestWasReset struct {
	Incarnation vm.Incarnation
}

// HealthJudged: the judgement of the probes changed, or what one of them counts.
type HealthJudged struct {
	Incarnation vm.Incarnation
	Health      vm.Health
	Why         string
	Probes      []vm.Probed // where each check stands that has said something
}

// OutOfSpace: the VMM halted the guest, as a disk can't grow. May come twice and late.
type OutOfSpace struct {
	Incarnation vm.Incarnation
	Why         string
}

// WentDeaf: the VMM lives, its guest had answered, and its control socket is
// gone. May come late.
type WentDeaf struct {
	Incarnation vm.Incarnation
	Why         string
}

// HeardAgain: a VMM that an earlier daemon found deaf has answered. May come late.
type HeardAgain struct{ Incarnation vm.Incarnation }

// GuestSaved: the guest is whole on the disk, durable. May come twice and late.
type GuestSaved struct {
	Incarnation vm.Incarnation
	Saved       vm.SavedState
}

// SaveFailed: the guest stands still or never did, and nothing is to be loaded. May come late.
type SaveFailed struct {
	Incarnation vm.Incarnation
	Why         string
}

// GuestLoaded: the saved guest is whole in its VMM, and stands still until the
// record has forgotten the file. May come twice and late.
type GuestLoaded struct{ Incarnation vm.Incarnation }

// GuestKept: the guest's known-good state is whole on the disk, durable, and the
// guest has run on. May come twice and late.
type GuestKept struct {
	Incarnation vm.Incarnation
	Good        vm.SavedState
}

// KeepFailed: it was not written, and the guest has run on; or the reconciler
// found that an earlier one is lost. May come twice and late.
type KeepFailed struct {
	Incarnation vm.Incarnation
	Why         string
	Lost        vm.Incarnation // whose known-good state is not on the disk; 0: none is lost
}

// StatesDropped: saved guests that the record doesn't name are gone.
type StatesDropped struct{ Incarnation vm.Incarnation }

// Found: adoption looked for the VMM; nil Process: none lives, and Exit, if not
// nil, is how it ended. May come late.
type Found struct {
	Incarnation vm.Incarnation
	Process     *vm.Process
	Exit        *vm.Exit
}

// KillConfirmed: no VMM of this incarnation lives. May come twice and late.
type KillConfirmed struct{ Incarnation vm.Incarnation }

// Released: run folder and links are gone. May come twice and late.
type Released struct {
	Incarnation vm.Incarnation
	Kept        bool // but for the links and what the driver made, for a restart
}

// Discarded: folder and disks are gone. May come twice.
type Discarded struct{ Incarnation vm.Incarnation }

// EffectFailed: a release, kill or discard did not work; the phase's deadline tries again.
type EffectFailed struct {
	Incarnation vm.Incarnation
	Effect      vm.Effect
	Why         string
}

// Of is the incarnation that the fact speaks of.
func (f Launched) Of() vm.Incarnation      { return f.Incarnation }
func (f GuestReset) Of() vm.Incarnation    { return f.Incarnation }
func (f GuestWasReset) Of() vm.Incarnation { return f.Incarnation }
func (f HealthJudged) Of() vm.Incarnation  { return f.Incarnation }
func (f OutOfSpace) Of() vm.Incarnation    { return f.Incarnation }
func (f WentDeaf) Of() vm.Incarnation      { return f.Incarnation }
func (f HeardAgain) Of() vm.Incarnation    { return f.Incarnation }
func (f GuestSaved) Of() vm.Incarnation    { return f.Incarnation }
func (f SaveFailed) Of() vm.Incarnation    { return f.Incarnation }
func (f GuestLoaded) Of() vm.Incarnation   { return f.Incarnation }
func (f GuestKept) Of() vm.Incarnation     { return f.Incarnation }
func (f KeepFailed) Of() vm.Incarnation    { return f.Incarnation }
func (f StatesDropped) Of() vm.Incarnation { return f.Incarnation }
func (f Found) Of() vm.Incarnation         { return f.Incarnation }
func (f KillConfirmed) Of() vm.Incarnation { return f.Incarnation }
func (f Released) Of() vm.Incarnation      { return f.Incarnation }
func (f Discarded) Of() vm.Incarnation     { return f.Incarnation }
func (f EffectFailed) Of() vm.Incarnation  { return f.Incarnation }

// Missed: reconciler → vm/<name>. No process of the incarnation was found; may
// come late.
type Missed struct{ Incarnation vm.Incarnation }

// Of is the incarnation that the fact speaks of.
func (f Missed) Of() vm.Incarnation { return f.Incarnation }

// SpaceBack: tracker → vm/<name>. There is room for what stands still by
// OutOfSpace; may come late and twice.
type SpaceBack struct{ Incarnation vm.Incarnation }

// Of is the incarnation that the fact speaks of.
func (f SpaceBack) Of() vm.Incarnation { return f.Incarnation }

// StatesLeft: reconciler → vm/<name>. Saved guests were found that the record
// doesn't name; may come late and twice.
type StatesLeft struct{ Incarnation vm.Incarnation }

// Of is the incarnation that the fact speaks of.
func (f StatesLeft) Of() vm.Incarnation { return f.Incarnation }

// Leftover: reconciler → vm/<name>. A run folder was found that a VM at rest
// must not have; may come late and twice.
type Leftover struct{ Incarnation vm.Incarnation }

// Of is the incarnation that the fact speaks of.
func (f Leftover) Of() vm.Incarnation { return f.Incarnation }

// CalledUp: bootstrap → vm/<name>. Its turn has come; late ones meet a VM that
// waits for no turn any more, and are dropped.
type CalledUp struct{}

// NodeEnding: shutdown → vm/<name>. May come twice.
type NodeEnding struct{}

// DeadlinePassed: clock → vm/<name>. Late ones carry an old revision and are dropped (P5).
type DeadlinePassed struct{ Revision vm.Revision }
