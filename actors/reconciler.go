package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// reconcileEvery is how often the machine is compared with the records: notices
// come sooner, but one may be missed; the look is the truth.
const reconcileEvery = 30 * time.Second

// lookTimeout bounds one look and what is mended after it.
const lookTimeout = 2 * time.Minute

// reconciler looks at the machine, compares it with the records, and mends what
// it may. It never touches what a VM's actor is at work on: whatever a start or a
// stop under way could explain has to be seen at two looks.
type reconciler struct {
	env    *env
	broken []persistence.Broken
	self   *actor.PID
	ctx    context.Context //nolint:containedctx // ends with the actor
	cancel context.CancelFunc

	seen    map[string]*seen
	busy    bool      // a look is under way
	queue   []planAsk // answered by the look that is under way, or the next
	applied []planAsk // with ids that a person wants done at the next look
	disarm  func()
	plan    gateway.Plan
}

// seen is what is remembered of a discrepancy over looks.
type seen struct {
	first time.Time
	looks int
	at    time.Time // of the last look that saw it
	told  bool
}

type (
	// planAsk: gateway → reconciler; answered once.
	planAsk struct {
		fresh bool
		apply bool
		ids   map[string]bool // with apply; empty: all
		reply chan<- planAnswer
	}
	planAnswer struct {
		plan gateway.Plan
		err  error
	}
	// lookDue: clock, launcher, links → reconciler. May come twice.
	lookDue struct{}
	// looked: a goroutine → reconciler; one for each look.
	looked struct {
		found policies.Inventory
		err   error
	}
	// mended: a goroutine → reconciler; one for each round.
	mended struct {
		at      time.Time
		results map[string]error
		all     []policies.Discrepancy
		asks    []planAsk
	}
)

// Receive is the reconciler's mailbox.
func (r *reconciler) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		r.self, r.seen = c.Self(), map[string]*seen{}
		r.ctx, r.cancel = context.WithCancel(context.Background())
		r.look()
	case lookDue:
		r.look()
	case planAsk:
		r.ask(m)
	case looked:
		r.looked(m)
	case mended:
		r.mended(m)
	case *actor.Stopping, *actor.Restarting:
		r.cancel()
		if r.disarm != nil {
			r.disarm()
		}
		r.answer(append(r.queue, r.applied...), planAnswer{err: letsGo("the reconciler")})
	}
}

func (r *reconciler) ask(m planAsk) {
	switch {
	case m.apply:
		r.applied = append(r.applied, m)
		r.look()
	case m.fresh || r.plan.At.IsZero():
		r.queue = append(r.queue, m)
		r.look()
	default:
		r.answer([]planAsk{m}, planAnswer{plan: r.plan})
	}
}

func (r *reconciler) answer(to []planAsk, a planAnswer) {
	for _, m := range to {
		m.reply <- a
	}
}

// look begins a look, unless one is under way.
func (r *reconciler) look() {
	if r.busy {
		return
	}
	r.busy = true
	r.background(func(ctx context.Context) any {
		if r.env.housekeep != nil {
			r.env.housekeep()
		}
		found, err := inventory(ctx, r.env.ports)
		return looked{found, err}
	})
}

func (r *reconciler) background(work func(ctx context.Context) any) {
	self, env, parent := r.self, r.env, r.ctx
	go func() {
		ctx, cancel := context.WithTimeout(parent, lookTimeout)
		defer cancel()
		if m := work(ctx); parent.Err() == nil { // else who has the name by now knows nothing of this look
			env.tell(self, m)
		}
	}()
}

// inventory asks every port; a part that can't be seen is no reason to believe
// that it is empty. Of VMMs that is said, and the rest is compared; else the
// whole look fails.
func inventory(ctx context.Context, p host.Ports) (policies.Inventory, error) {
	found := policies.Inventory{}
	vmms, err := p.Launcher.List(ctx)
	if err != nil {
		found.Blind = err.Error()
	}
	found.VMMs = vmms
	links, err := p.Links.List(ctx)
	if err != nil && host.KindOf(err) != host.Denied { // without the privilege there are none of ours
		return policies.Inventory{}, err
	}
	found.Links = links
	found.Folders, err = p.Salvage.List(ctx)
	return found, err
}

// looked compares, and has done what is due.
func (r *reconciler) looked(m looked) {
	now := r.env.ports.Clock.Now()
	asks := r.applied
	r.applied = nil
	if m.err != nil {
		r.env.log.Warn("the machine could not be looked at; the next look tries again", zap.Error(m.err))
		r.answer(append(r.queue, asks...), planAnswer{err: &vm.Refusal{
			Code: vm.Unavailable, Why: "the machine could not be looked at: " + m.err.Error(), Try: "blixard node doctor",
		}})
		r.queue = nil
		r.over()
		return
	}
	if m.found.Blind != "" {
		r.env.log.Warn("VMMs could not be looked at; what one might be using is left alone", zap.String("why", m.found.Blind))
	}
	all := policies.Compare(m.found, r.records())
	var due []policies.Discrepancy
	for _, d := range all {
		s := r.notice(d, now)
		ready, _ := d.Due(now, s.first, s.looks)
		if ready || d.Gate == policies.GatePerson && wanted(asks, d.Key) {
			due = append(due, d)
		}
	}
	for key, s := range r.seen {
		if !s.at.Equal(now) {
			delete(r.seen, key) // it has healed, or was mended
		}
	}
	r.background(func(ctx context.Context) any {
		results := map[string]error{}
		for _, d := range due {
			results[d.Key] = r.env.mend(ctx, d)
		}
		return mended{now, results, all, asks}
	})
}

// notice counts a look at a discrepancy, and tells of it once.
func (r *reconciler) notice(d policies.Discrepancy, now time.Time) *seen {
	s := r.seen[d.Key]
	if s == nil {
		s = &seen{first: now}
		r.seen[d.Key] = s
	}
	s.looks++
	s.at = now
	if !s.told && s.looks >= 2 {
		s.told = true
		rec := vm.Record{Spec: vm.Spec{Name: d.VM}}
		if d.Record != nil {
			rec = *d.Record
		}
		go r.env.note("Discrepancy", rec, fmt.Sprintf("%s: %s", d.What, d.Why))
	}
	return s
}

func wanted(asks []planAsk, key string) bool {
	for _, m := range asks {
		if len(m.ids) == 0 || m.ids[key] {
			return true
		}
	}
	return false
}

func (r *reconciler) records() policies.Records {
	known := policies.Records{Broken: map[vm.ID]bool{}, Names: map[vm.Name]bool{}, Safe: r.env.safe != ""}
	for _, b := range r.broken {
		known.Broken[b.ID], known.Names[b.Name] = true, true
	}
	for _, v := range r.env.views.list() {
		known.All = append(known.All, v.rec)
	}
	return known
}

// mend does what a discrepancy wants. Each port proves again that what it
// removes is ours (P8).
func (e *env) mend(ctx context.Context, d policies.Discrepancy) error {
	switch d.Mend {
	case policies.MendKill:
		return e.ports.Launcher.Kill(ctx, d.VMM.Ref, &d.VMM.Process)
	case policies.MendAdopt:
		return e.adopt(ctx, d)
	case policies.MendRemoveLink:
		return e.ports.Links.Remove(ctx, *d.Link)
	case policies.MendRemoveRun:
		if d.Record != nil { // its actor alone knows what else is under way
			return e.tellVM(d.VM, messages.Leftover{Incarnation: d.Record.State.Incarnation})
		}
		return e.ports.Folders.Release(ctx, vm.Ref{VM: d.Folder.ID, Name: d.Folder.Name, Incarnation: d.Folder.Last})
	case policies.MendDropSaved:
		return e.tellVM(d.VM, messages.StatesLeft{Incarnation: d.Record.State.Incarnation})
	case policies.MendForgetGood:
		return e.forgetGood(d)
	case policies.MendQuarantine:
		name, err := e.ports.Salvage.Quarantine(ctx, *d.Folder)
		if err == nil {
			e.note("Quarantined", vm.Record{Spec: vm.Spec{Name: d.VM}}, fmt.Sprintf("%s is now %s; to undo it: blixard node restore %s", d.What, name, name))
		}
		return err
	case policies.MendLook:
		return e.tellVM(d.VM, messages.Missed{Incarnation: d.Record.State.Incarnation})
	case policies.MendNothing:
	}
	return nil
}

// forgetGood tells a VM of its lost known-good state, unless it is there by now.
func (e *env) forgetGood(d policies.Discrepancy) error {
	good := *d.Record.State.Good
	err := e.ports.Folders.HasState(d.Record.Ref(), good)
	if err == nil {
		return errors.New("its file is there")
	}
	if host.KindOf(err) != host.Broken {
		return err
	}
	return e.tellVM(d.VM, messages.KeepFailed{Incarnation: d.Record.State.Incarnation, Why: "its known-good state is gone from the disk", Lost: good.Incarnation})
}

// adopt takes a VM in from its VMM and its manifest.
func (e *env) adopt(ctx context.Context, d policies.Discrepancy) error {
	found := policies.Inventory{VMMs: []vm.FoundVMM{*d.VMM}, Folders: []vm.FoundFolder{*d.Folder}}
	for _, rec := range policies.Rebuild(found, e.ports.BootID, e.ports.Clock.Now()) {
		reply := make(chan messages.Answer, 1)
		e.tell(e.tracker, rebuilt{rec: rec, reply: reply})
		if _, err := wait(ctx, string(d.VM), reply); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) tellVM(name vm.Name, m any) error {
	v, ok := e.views.get(name)
	if !ok {
		return errors.New("it was deleted meanwhile")
	}
	e.tell(v.pid, m)
	return nil
}

// mended makes the plan that people see, and the figures.
func (r *reconciler) mended(m mended) {
	plan := gateway.Plan{At: m.at}
	waits := 0
	for _, d := range m.all {
		s := r.seen[d.Key]
		a := gateway.Action{ID: d.Key, Do: string(d.Mend), What: d.What, VM: d.VM, Why: d.Why}
		_, a.After = d.Due(m.at, s.first, s.looks)
		err, tried := m.results[d.Key]
		switch {
		case tried && err != nil:
			a.State, a.Error = "failed", err.Error()
		case tried:
			a.State = "done"
			go r.env.note("Reconciled", vm.Record{Spec: vm.Spec{Name: d.VM}}, fmt.Sprintf("%s (%s): %s", d.What, d.Mend, d.Why))
		case d.Gate == policies.GatePerson:
			a.State = "person"
			waits++
		case d.Gate == policies.GateNever:
			a.State = "told"
		case a.After.IsZero():
			a.State = "due"
		default:
			a.State = "waiting"
		}
		plan.Actions = append(plan.Actions, a)
	}
	r.plan = plan
	r.env.plan.Store(&plan)
	r.answer(append(r.queue, m.asks...), planAnswer{plan: plan})
	r.queue = nil
	r.over()
}

// over ends a round and arms the next look: at once where somebody asked meanwhile.
func (r *reconciler) over() {
	r.busy = false
	if len(r.applied) > 0 {
		r.look()
		return
	}
	if r.disarm != nil {
		r.disarm()
	}
	every := reconcileEvery
	for _, s := range r.seen {
		if s.looks == 1 {
			every = time.Second // seen once: the second look tells whether it stays
		}
	}
	self, env := r.self, r.env
	r.disarm = env.ports.Clock.After(every, func() { env.tell(self, lookDue{}) })
}
