package actors

import (
	"context"
	"fmt"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// A failure whose VMM still lives may have the guest's memory written down before
// it travels to vm/<name>, where the guest is killed or healed for it:
//
//	failure ─▶ dumpFirst ─▶ Session.Dump, at most Spec.Dump.Timeout ─▶ dumpEnded ─▶ the same failure
//	failure ─▶ dumpFirst ─▶ … its VMM stands still, or answers nothing ─▶ the same failure, at once
//	failure ─▶ dumpFirst ─▶ … a person's stop, or the VMM's end ─▶ the same failure, at once
//
// That it fails never keeps the VM from its restart.

// dumpGrace is what a session may take to give a dump up after its time.
const dumpGrace = 2 * time.Second

// What the goroutines and timers of a dump bring back to their run actor.
type (
	dumpEnded   struct{ dumped vm.Dumped }
	dumpOverdue struct{ of *dumping }
	dumpAnswer  struct {
		path string
		size vm.Bytes
		err  error
	}
	askedDumpEnded struct{}
)

// dumping is a death that waits for the guest's memory.
type dumping struct {
	failure vm.Failure
	format  vm.DumpFormat
	began   time.Time
	over    bool // the failure is on its way
	cancel  context.CancelFunc
}

// dumpFirst meets a failure on its way out of the mailbox.
func (r *runActor) dumpFirst() {
	reason := recover()
	f, death := reason.(vm.Failure)
	switch {
	case reason == nil:
	case !death:
		panic(reason)
	case r.dumping != nil && !r.dumping.over:
		return // another domino: the first one is on its way
	default:
		r.meetDeath(f)
	}
}

// meetDeath sends a failure on its way, or begins the dump that it waits for. A
// VMM that stands still answers nothing, whatever its checks have seen of it.
func (r *runActor) meetDeath(f vm.Failure) {
	halted := ""
	if f.Alive {
		halted = r.halted()
		f.Silent = f.Silent || halted != ""
	}
	switch {
	case !r.wantsDump(f):
	case f.Silent:
		f.Notes = r.undumped(halted)
	default:
		r.beginDump(f)
		return
	}
	panic(r.noted(f))
}

func (r *runActor) beginDump(f vm.Failure) {
	d, env, self, ref, session, crash := r.dumps, r.env, r.self, r.ref, r.session, r.rec.State.Crashes+1
	ctx, cancel := context.WithTimeout(r.ctx, d.Timeout)
	r.dumping = &dumping{failure: f, format: d.Format, began: env.ports.Clock.Now(), cancel: cancel}
	r.paused = true // its probes say nothing more
	r.keepYields()
	env.tell(r.parent, messages.HealthJudged{
		Incarnation: ref.Incarnation, Health: vm.Unhealthy, Probes: r.standings(),
		Why: policies.DumpedFirst(f, d.Timeout),
	})
	go func() {
		defer cancel()
		env.tell(self, dumpEnded{env.dumpDeath(ctx, session, ref, crash, d.Format)})
	}()
	r.after(d.Timeout+dumpGrace, dumpOverdue{r.dumping})
}

// dumpDeath writes the memory of a guest that is about to be killed.
func (e *env) dumpDeath(ctx context.Context, s host.Session, ref vm.Ref, crash uint64, format vm.DumpFormat) vm.Dumped {
	began := e.ports.Clock.Now()
	_, size, err := e.dump(ctx, s, ref, format, crash, policies.DumpAtMost(e.evidence.quota))
	out := vm.Dumped{Format: format, Bytes: size, Took: e.ports.Clock.Now().Sub(began)}
	if err != nil {
		out.Why = err.Error()
	}
	return out
}

// dump writes a guest's memory into a file that is there whole or not at all.
func (e *env) dump(ctx context.Context, s host.Session, ref vm.Ref, format vm.DumpFormat, crash uint64, most vm.Bytes) (path string, size vm.Bytes, err error) {
	const doing = "dump"
	if s == nil {
		return "", 0, host.Fail(host.Transient, doing, fmt.Errorf("there is no session with its VMM"))
	}
	if why := e.lowSpace(); why != "" {
		return "", 0, host.Fail(host.Transient, doing, fmt.Errorf("%s", why))
	}
	file, err := e.ports.Bundles.NewDump(ctx, ref, format, crash, most)
	if err != nil {
		return "", 0, err
	}
	defer file.Drop()
	if err := s.Dump(ctx, format, file); err != nil {
		return "", 0, err
	}
	return file.Keep(ctx)
}

// whileDumping hears what ends a dump; all else is met as before.
func (r *runActor) whileDumping(m any) (heard bool) {
	d := r.dumping
	switch m := m.(type) {
	case dumpEnded:
		r.dumped(m.dumped)
	case dumpOverdue:
		if m.of == d {
			r.dumped(vm.Dumped{Format: d.format, Took: r.env.ports.Clock.Now().Sub(d.began), Why: "its time was over, and the VMM did not give it up"})
		}
	case exited:
		d.failure.Alive, d.failure.Exit = false, &m.exit
		r.dumped(vm.Dumped{Format: d.format, Took: r.env.ports.Clock.Now().Sub(d.began), Why: "its VMM ended meanwhile"})
	case powerDown:
		r.off = true
		r.dumped(vm.Dumped{Format: d.format, Took: r.env.ports.Clock.Now().Sub(d.began), Why: "given up, as the VM was asked down"})
	case noticed, attachAgain, attached, save, pause, resume, goesOn, keepEnded:
		// its guest doesn't run, and is not to: the death says what follows
	default:
		return false
	}
	return true
}

// dumped lets the failure go on its way.
func (r *runActor) dumped(m vm.Dumped) {
	d := r.dumping
	d.over = true
	d.cancel()
	f := d.failure
	f.Notes = &vm.Notes{Dump: &m}
	panic(f)
}

// dump: gateway → vm/<name> → run-<n>. Answered once.
type dump struct {
	ctx    context.Context //nolint:containedctx // of the request: the dump ends with it
	format vm.DumpFormat
	by     messages.Caller
	reply  chan<- dumpAnswer
}

// Dump writes a guest's memory as a person asked for, and says where it is.
func (n *Node) Dump(ctx context.Context, name vm.Name, format vm.DumpFormat, by messages.Caller) (path string, size vm.Bytes, err error) {
	v, r := n.env.seat(name)
	if r != nil {
		return "", 0, r
	}
	if n.env.ports.Bundles == nil {
		return "", 0, &vm.Refusal{Code: vm.Unavailable, Why: "this node keeps no dumps", Try: "blixard node doctor"}
	}
	reply := make(chan dumpAnswer, 1)
	n.env.tell(v.pid, dump{ctx, format, by, reply})
	select {
	case a := <-reply:
		return a.path, a.size, a.err
	case <-ctx.Done():
		return "", 0, &vm.Refusal{Code: vm.TimedOut, Why: fmt.Sprintf("the memory of %s was not written in time", name), Try: "a longer --timeout"}
	}
}

// dump passes it on while there is a guest whose memory it could be.
func (v *vmActor) dump(m dump) {
	if v.rec.State.Phase&(vm.Running|vm.Paused) == 0 || v.run == nil {
		m.reply <- dumpAnswer{err: &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("%s is %s, a dump needs a running or paused guest", v.rec.Spec.Name, v.rec.State.Phase),
			Try: comesUp(v.rec.State.Phase) + string(v.rec.Spec.Name),
		}}
		return
	}
	v.env.tell(v.run, m)
}

// dump halts the guest for as long as it takes: what its probes would say of
// that is no news.
func (r *runActor) dump(m dump) {
	if r.deaf != "" {
		m.reply <- dumpAnswer{err: policies.CantDump(r.ref.Name, r.deaf)}
		return
	}
	if r.dumping != nil || r.suspend.cut != nil || r.good.cut != nil || r.dumpAsked {
		m.reply <- dumpAnswer{err: &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("the memory of %s is being written already", r.ref.Name), Try: "again in a moment",
		}}
		return
	}
	r.dumpAsked = true
	env, self, session, ref, owner := r.env, r.self, r.session, r.ref, r.ctx
	go func() {
		ctx, cancel := context.WithCancel(m.ctx)
		defer cancel()
		defer context.AfterFunc(owner, cancel)()
		rec := vm.Record{ID: ref.VM, Spec: vm.Spec{Name: ref.Name}}
		env.noteBy("DumpAsked", rec, "the guest's memory is written to the disk", m.by.String())
		path, size, err := env.dump(ctx, session, ref, m.format, 0, 0) //nolint:contextcheck // the request's, which came by message
		if err != nil {
			err = &vm.Refusal{Code: vm.Unavailable, Why: fmt.Sprintf("the memory of %s was not written: %v", ref.Name, err), Try: "blixard vm explain " + string(ref.Name)}
		}
		env.tell(self, askedDumpEnded{})
		m.reply <- dumpAnswer{path, size, err}
	}()
}

// dumpHolds says whether a person's dump is under way. A VMM refuses to halt its
// guest, to let it run or to save it meanwhile: what is asked of it then is done
// once the dump is over, as it was last wanted.
func (r *runActor) dumpHolds() bool {
	r.owed = r.owed || r.dumpAsked
	return r.dumpAsked
}

// askedDumpEnded does what the dump has held up. The guest's probes begin anew:
// that it said nothing meanwhile is no news.
func (r *runActor) askedDumpEnded() {
	owed := r.owed
	r.dumpAsked, r.owed = false, false
	switch {
	case r.dumping != nil || r.off: // it is on its way already
	case owed && r.suspend.wanted:
		r.save()
	case owed && r.paused:
		r.pause()
	case owed:
		r.goOn()
	case !r.paused && r.visit > 0:
		r.startProbes()
	}
}
