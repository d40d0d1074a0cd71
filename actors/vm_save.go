package actors

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// hearSaved turns what was told of a guest's way to the disk and back into a turn.
func (v *vmActor) hearSaved(c actor.Context, f messages.Fact) {
	switch m := f.(type) {
	case messages.GuestSaved:
		v.turn(c, policies.Turn{Event: vm.GuestSaved, Saved: &m.Saved})
	case messages.SaveFailed:
		v.turn(c, policies.Turn{Event: vm.SaveFailed, Why: m.Why})
	case messages.GuestLoaded:
		v.turn(c, policies.Turn{Event: vm.GuestLoaded, Why: "its guest goes on from its saved state"})
	case messages.GuestKept:
		size := (m.Good.Bytes + vm.MiB - 1) / vm.MiB * vm.MiB
		v.turn(c, policies.Turn{Event: vm.GuestKept, Saved: &m.Good, Why: fmt.Sprintf("its known-good state is kept, %s", size)})
	case messages.KeepFailed:
		v.turn(c, policies.Turn{Event: vm.KeepFailed, Why: m.Why, LostGood: m.Lost})
	case messages.StatesLeft:
		v.dropSaved()
	case messages.StatesDropped:
		if v.dropAgain {
			v.dropSaved()
		}
	}
}

// dropSaved removes the files of saved guests that the record doesn't name.
func (v *vmActor) dropSaved() {
	rec := v.rec
	v.dropAgain = v.busy[effort{vm.DropSaved, rec.State.Incarnation}] // for another record than this one: it keeps what is to go now
	v.background(vm.DropSaved, func(ctx context.Context) (messages.Fact, error) {
		return messages.StatesDropped{Incarnation: rec.State.Incarnation}, v.env.ports.Folders.DropStates(ctx, rec)
	})
}
