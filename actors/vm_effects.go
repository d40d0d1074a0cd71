package actors

import (
	"context"
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// do carries out one effect. Each may be repeated: that is how a crash between
// the write and the effect heals.
func (v *vmActor) do(c actor.Context, e vm.Effect) {
	rec, ref, hint, n := v.rec, v.rec.Ref(), v.rec.State.Process, v.rec.State.Incarnation
	switch e {
	case vm.Prepare:
		v.prepareNext(c)
	case vm.Attach, vm.Reset: // the record says whether it is reset before (State.ResetDue)
		v.attach(c)
	case vm.Find:
		v.find(ref, hint)
	case vm.PowerDown:
		v.tellRun(powerDown{})
	case vm.Pause:
		v.tellRun(pause{})
	case vm.Resume:
		v.tellRun(resume{})
	case vm.Save:
		v.tellRun(save{})
	case vm.DropSaved:
		v.dropSaved()
	case vm.Kill:
		v.background(e, func(ctx context.Context) (messages.Fact, error) {
			return messages.KillConfirmed{Incarnation: n}, v.env.ports.Launcher.Kill(ctx, ref, hint)
		})
	case vm.Release:
		v.release()
	case vm.Discard:
		v.background(e, func(ctx context.Context) (messages.Fact, error) {
			// Its end was told before what it held was taken back: see host.Launcher.Watch (P7).
			if err := v.env.ports.Launcher.Kill(ctx, ref, hint); err != nil {
				return nil, err
			}
			err := v.env.ports.Folders.Discard(ctx, ref)
			if host.KindOf(err) == host.Denied { // what can't be proved its own stays, and the VM goes (P8, P14)
				v.env.note("FolderLeft", rec, err.Error())
				err = nil
			}
			return messages.Discarded{Incarnation: n}, err
		})
	case vm.Forget:
		v.disarm()
		v.cancel() // a turn of a deleted VM would show it again
		v.env.views.remove(v.rec.Spec.Name)
		v.env.tell(v.env.tracker, gone{v.rec.ID})
		v.env.evidence.forget(v.rec.ID)
		v.env.tell(c.Parent(), forget{v.rec.Spec.Name})
	}
}

// begin spawns the run actor of the record's incarnation, the only place that does.
func (v *vmActor) begin(c actor.Context, first any) {
	if v.run != nil {
		panic(fmt.Sprintf("actors: %s still has a run actor", v.rec.Spec.Name)) // P1
	}
	paths := v.env.ports.Folders.Paths(v.rec.Ref())
	if saved := policies.ToLoad(v.rec.State); saved != nil {
		paths.Load = paths.Saved(*saved)
	}
	n, prepare := v.rec.State.Incarnation, make(chan struct{})
	if v.notes == nil || v.begun != n {
		v.notes = &notes{}
	}
	run := &runActor{
		env: v.env, rec: v.rec, ref: v.rec.Ref(), paths: paths, first: first, prepare: prepare,
		behind: []<-chan struct{}{v.prepare, v.cleaning}, notes: v.notes,
	}
	v.ending, v.sick, v.prepare, v.begun = false, false, prepare, n
	v.run = spawn(c, v.env.log, fmt.Sprintf("run-%d", n), func() actor.Actor { return run })
}

// prepareNext begins the record's incarnation; where the last one's run actor
// still ends, once it has ended, if by then that is still what the record says.
func (v *vmActor) prepareNext(c actor.Context) {
	if v.run != nil {
		v.endRun()
		return
	}
	v.begin(c, doPrepare{})
}

func (v *vmActor) attach(c actor.Context) {
	if v.run == nil {
		v.begin(c, doAttach{})
	}
}

func (v *vmActor) tellRun(m any) {
	if v.run != nil {
		v.env.tell(v.run, m)
	}
}

// find looks whether the VMM lives.
func (v *vmActor) find(ref vm.Ref, hint *vm.Process) {
	v.background(vm.Find, func(ctx context.Context) (messages.Fact, error) {
		p, err := v.env.ports.Launcher.Find(ctx, ref, hint)
		if host.KindOf(err) == host.Gone {
			found := messages.Found{Incarnation: ref.Incarnation}
			if exit, err := v.env.ports.Launcher.Verdict(ctx, ref, hint); err == nil { // else nobody remembers
				found.Exit = &exit
			}
			return found, nil
		}
		return messages.Found{Incarnation: ref.Incarnation, Process: &p}, err
	})
}

// release ends the run actor first; only when it has ended is anything removed.
func (v *vmActor) release() {
	if v.run != nil {
		v.releasing = true
		v.endRun()
		return
	}
	v.releasing = false
	ref, prepare, spec := v.rec.Ref(), v.prepare, v.rec.Spec
	rest := !policies.Keeps(v.rec.State)
	v.background(vm.Release, func(ctx context.Context) (messages.Fact, error) {
		if prepare != nil {
			select {
			case <-prepare: // else it would make again what is removed here (P7)
			case <-ctx.Done():
				return nil, host.Fail(host.Transient, "wait for the end of preparing", ctx.Err())
			}
		}
		return messages.Released{Incarnation: ref.Incarnation, Kept: !rest}, v.env.releaseAll(ctx, ref, spec, rest)
	})
}

// clean releases again what a VM at rest still has. A start that comes meanwhile
// waits for it: else what is removed would be the next incarnation's.
func (v *vmActor) clean() {
	if v.rec.State.Phase&vm.AtRest == 0 || v.busy[effort{vm.Release, v.rec.State.Incarnation}] {
		return
	}
	ref, spec, done := v.rec.Ref(), v.rec.Spec, make(chan struct{})
	v.cleaning = done
	v.background(vm.Release, func(ctx context.Context) (messages.Fact, error) {
		defer close(done)
		return messages.Released{Incarnation: ref.Incarnation}, v.env.releaseAll(ctx, ref, spec, true)
	})
}

// endRun asks the run actor to end, once: a second Stop or a restart of an
// ending actor would raise a zombie.
func (v *vmActor) endRun() {
	if v.run != nil && !v.ending {
		v.ending = true
		v.env.stop(v.run)
	}
}
