package actors

import (
	"fmt"
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

	boot   policies.BootPolicy
	first  bool // no daemon has woken all VMs in this boot of the node yet
	awake  *awakening
	turned *relay
	booted *booted
	safe   string // why the node starts and deletes nothing; empty: it doesn't hold back
	plan   atomic.Pointer[gateway.Plan]
}

// note writes an entry of the node itself. That it can't be written is no reason to fail.
func (e *env) note(kind string, of vm.Record, why string) {
	_, err := e.store.Note(vm.Entry{At: e.ports.Clock.Now(), VM: of.ID, Name: of.Spec.Name, Kind: kind, Why: why})
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
