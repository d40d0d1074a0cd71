package actors

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// env is what every actor of one node shares. It holds no state of any VM but
// the views, which are copies.
type env struct {
	sys     *actor.ActorSystem
	ports   host.Ports
	store   persistence.Store
	views   *views
	watch   Observer
	log     *zap.Logger
	fatal   func(why string) // ends the process, non-zero; never a guest
	started time.Time

	boot      policies.BootPolicy
	first     bool // no daemon has woken all VMs in this boot of the node yet
	awake     *awakening
	turned    *relay
	fleet     *actor.PID
	tracker   *actor.PID
	balloons  balloons
	resources atomic.Pointer[vm.NodeResources]
	usages    atomic.Pointer[usages] // of the VMs; nil: nothing was measured yet
	guests    guests
	rounds    rounds
	terms     atomic.Pointer[terms]
	accel     func() string // by which VMMs are accelerated, as far as that is decided; must not block
	booted    *booted
	evidence  *evidence
	safe      string // why the node starts and deletes nothing; empty: it doesn't hold back
	housekeep func()
	low       func() string
	plan      atomic.Pointer[gateway.Plan]
}

// lowSpace says why nothing that grows is admitted; empty: it is.
func (e *env) lowSpace() string {
	if e.low == nil {
		return ""
	}
	return e.low()
}

// full refuses what would grow while the disk is full.
func full(what, why string) *vm.Refusal {
	return &vm.Refusal{Code: vm.NoRoom, Why: what + ": " + why, Try: "free space on the disk of the state folder: blixard node status"}
}

// cyclic refuses dependencies that close a cycle with those of the other VMs.
// Two specs that are applied at the same moment may still close one between
// them; the bootstrap cuts it, so it costs an order and no VM.
func (e *env) cyclic(s vm.Spec) *vm.Refusal {
	cycle := policies.Cycle(s.Name, s.Autostart.DependsOn, func(name vm.Name) []vm.Dependency {
		v, _ := e.views.get(name)
		return v.rec.Spec.Autostart.DependsOn
	})
	if cycle == nil {
		return nil
	}
	names := make([]string, len(cycle))
	for i, name := range cycle {
		names[i] = string(name)
	}
	return &vm.Refusal{
		Code: vm.Invalid, Why: "autostart.dependsOn closes a cycle: " + strings.Join(names, " waits for "),
		Try: "take one of them out",
	}
}

// note writes an entry of the node itself. That it can't be written is no reason to fail.
func (e *env) note(kind string, of vm.Record, why string) { e.noteBy(kind, of, why, "") }

// noteBy says who asked too.
func (e *env) noteBy(kind string, of vm.Record, why, by string) {
	_, err := e.store.Note(vm.Entry{At: e.ports.Clock.Now(), VM: of.ID, Name: of.Spec.Name, Kind: kind, Why: why, By: by})
	if err != nil {
		e.log.Warn("an event was not written", zap.String("kind", kind), zap.String("why", why), zap.Error(err))
	}
}

// Observer is told of every durable turn, from the VM's actor: it must not block.
type Observer interface {
	Turned(t Turned)
}

// Turned is one durable turn.
type Turned struct {
	Before, After vm.Record
	Event         vm.Event
	Crash         *vm.Crash
	Stored        time.Duration // how long the store took
}

// tell sends a message from outside of any actor.
func (e *env) tell(to *actor.PID, m any) { e.sys.Root.Send(to, m) }

// stop asks an actor to end; the parent hears of it by Terminated.
func (e *env) stop(p *actor.PID) { e.sys.Root.Stop(p) }

// unwritten refuses what could not be made durable: nothing of it was done (P3).
func unwritten(name vm.Name, done string, err error) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("%s was not %s: the store can't write: %v", name, done, err),
		Try: "look at the disk's space and health: blixard node doctor",
	}
}
