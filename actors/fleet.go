package actors

import (
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// A VM's actor that fails by a bug of ours starts again from its record, this
// often within this time; then it is parked, shown as such, and its guest lives on.
const (
	bugBudget = 5
	bugWindow = 10 * time.Minute
)

// fleet supervises the VMs' actors: it spawns them, gives names and slots out,
// and decides what follows a bug in one.
type fleet struct {
	env     *env
	records []vm.Record          // what the store held at the start
	broken  []persistence.Broken // that can't be read: what they hold stays taken (P13)
	joined  chan<- struct{}      // closed when each of them has its actor and its view
	members map[vm.Name]*member
	names   map[string]vm.Name // by the id of the member's actor
	slots   slots
	ending  bool // the library waits for the children that it knew when this began: no new one may come
}

// member is one VM as its supervisor knows it.
type member struct { // no record: the views have it
	pid     *actor.PID
	id      vm.ID
	slot    uint32
	bugs    []time.Time
	failed  bool     // its Terminated is due, and a new actor after it
	forgot  bool     // the VM was deleted: its end is wanted
	waiting []create // of the same name: they wait for the old actor's end
}

// create is a Create with what the tracker holds for it, and the channel that
// takes its one answer.
type create struct {
	messages.Create
	held
	reply chan<- messages.Answer
}

// rebuilt is a record that was made from a manifest, with the channel that takes
// its one answer, by way of the tracker.
type rebuilt struct {
	held
	rec   vm.Record
	by    messages.Caller
	reply chan<- messages.Answer
}

// forget: vm/<name> → fleet. The record is deleted; end the actor.
type forget struct{ name vm.Name }

// Receive is the fleet's mailbox.
func (f *fleet) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		f.members, f.names = make(map[vm.Name]*member, len(f.records)), make(map[string]vm.Name, len(f.records))
		for _, b := range f.broken {
			f.slots.take(b.Slot)
		}
		for _, rec := range f.records {
			f.join(c, rec)
		}
		f.records = nil
		close(f.joined)
	case create:
		f.create(c, m)
	case rebuilt:
		f.know(c, m)
	case ping:
		f.env.tell(m.from, pong{})
	case forget:
		if one := f.members[m.name]; one != nil {
			one.forgot = true
			f.env.stop(one.pid)
		}
	case *actor.Terminated:
		f.left(c, m.Who)
	case *actor.Stopping:
		f.ending = true
	}
}

// join spawns the actor of a record, the only place that does. Its view comes
// first: an actor that wakes to the end of a deletion may be gone, and its view
// with it, before this goes on.
func (f *fleet) join(c actor.Context, rec vm.Record) *member {
	one := &member{id: rec.ID, slot: rec.Slot}
	env, child := f.env, "vm/"+string(rec.Spec.Name)
	one.pid = actor.NewPID(c.Self().Address, c.Self().Id+"/"+child)
	f.members[rec.Spec.Name], f.names[one.pid.Id] = one, rec.Spec.Name
	f.slots.take(rec.Slot)
	env.views.update(rec.Spec.Name, func(o *view) {
		if !one.pid.Equal(o.pid) { // else it begins anew, and asks go on to reach it
			o.rec, o.pid, o.parked = rec, one.pid, ""
		}
	})
	first := &vmActor{env: env, rec: rec} // the library makes it once: a new life after a bug comes by here again
	one.pid = spawn(c, env.log, child, func() actor.Actor { return first })
	return one
}

// create makes a new VM and starts it, if that was asked.
func (f *fleet) create(c actor.Context, m create) {
	if one := f.members[m.Spec.Name]; one != nil && one.forgot && !f.ending {
		one.waiting = append(one.waiting, m)
		return
	}
	rec, r := f.make(c, m)
	f.settle(m.held, m.Spec.Name, r == nil) // before the answer: whoever asks next finds it counted
	switch {
	case r != nil:
		m.reply <- messages.Answer{Refusal: r}
	case m.Start:
		f.env.tell(f.members[m.Spec.Name].pid, asked{Ask: messages.Ask{Event: vm.StartAsked, By: m.By}, reply: m.reply})
	default:
		m.reply <- messages.Answer{Record: rec}
	}
}

// settle tells the tracker what became of what it holds.
func (f *fleet) settle(h held, name vm.Name, durable bool) {
	f.env.tell(f.env.tracker, settled{held: h, name: name, durable: durable})
}

// make gives a new VM its slot, makes it durable with its reservation (P3), and
// spawns its actor.
func (f *fleet) make(c actor.Context, m create) (vm.Record, *vm.Refusal) {
	name := m.Spec.Name
	if f.env.safe != "" {
		return vm.Record{}, f.env.holdsBack(string(name) + " was not created")
	}
	if why := f.env.lowSpace(); why != "" {
		return vm.Record{}, full(string(name)+" was not created", why)
	}
	if r := f.taken(name); r != nil {
		return vm.Record{}, r
	}
	if r := f.env.cyclic(m.Spec); r != nil {
		return vm.Record{}, r
	}
	now := f.env.ports.Clock.Now()
	rec := vm.Record{
		ID: m.id, Slot: f.slots.free(), Spec: m.Spec, Reservation: m.reservation,
		State: vm.State{
			Revision: 1, Phase: vm.Stopped, PhaseSince: now, CreatedAt: now, HealthSince: now,
			Reason: "created by " + m.By.String(),
		},
	}
	_, err := f.env.store.Commit(persistence.Turn{Record: rec, Whole: true, Entry: &vm.Entry{
		At: now, VM: rec.ID, Name: name, Kind: "Created", To: vm.Stopped, Revision: 1, Why: "created", By: m.By.String(),
	}})
	if err != nil {
		return vm.Record{}, unwritten(name, "created", err)
	}
	f.join(c, rec)
	return rec, nil
}

// know takes a VM in whose folder came back. One that is known already stays as it is.
func (f *fleet) know(c actor.Context, m rebuilt) {
	if one := f.members[m.rec.Spec.Name]; one != nil && one.id == m.rec.ID {
		f.settle(m.held, m.rec.Spec.Name, false)
		seen, _ := f.env.views.get(m.rec.Spec.Name)
		m.reply <- messages.Answer{Record: seen.rec}
		return
	}
	rec, r := f.takeIn(c, m)
	f.settle(m.held, m.rec.Spec.Name, r == nil)
	m.reply <- messages.Answer{Record: rec, Refusal: r}
}

func (f *fleet) takeIn(c actor.Context, m rebuilt) (vm.Record, *vm.Refusal) {
	rec := m.rec
	if r := f.taken(rec.Spec.Name); r != nil {
		return vm.Record{}, r
	}
	if f.slots.has(rec.Slot) {
		rec.Slot = f.slots.free() // its next start gives the files to the user of this one
	}
	by := ""
	if m.by != (messages.Caller{}) {
		by = m.by.String()
	}
	_, err := f.env.store.Commit(persistence.Turn{Record: rec, Whole: true, Entry: &vm.Entry{
		At: rec.State.CreatedAt, VM: rec.ID, Name: rec.Spec.Name, Kind: "Rebuilt", To: rec.State.Phase, Revision: 1, Why: rec.State.Reason, By: by,
	}})
	if err != nil {
		return vm.Record{}, unwritten(rec.Spec.Name, "taken in", err)
	}
	f.join(c, rec)
	return rec, nil
}

// taken refuses a name that a VM has, also one whose record can't be read (P13).
func (f *fleet) taken(name vm.Name) *vm.Refusal {
	if f.ending {
		return letsGo(name)
	}
	if _, ok := f.members[name]; ok {
		return nameTaken(name)
	}
	if i := slices.IndexFunc(f.broken, func(b persistence.Broken) bool { return b.Name == name }); i >= 0 {
		return &vm.Refusal{
			Code: vm.Exists, Why: fmt.Sprintf("%s exists, and its record can't be read: %s", name, f.broken[i].Why),
			Try: "choose another name; look at it with `blixard node status`",
		}
	}
	return nil
}

// letsGo refuses an ask that comes while the daemon ends.
func letsGo(name vm.Name) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("the daemon is ending, nothing was asked of %s", name),
		Try: "try again when it is up: blixard node status",
	}
}

// HandleFailure decides what follows a bug in a VM's actor. The actor is
// stopped in any case; what comes next waits for its Terminated.
func (f *fleet) HandleFailure(_ *actor.ActorSystem, _ actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	name, one := f.named(child)
	if one == nil || one.failed || one.forgot || f.ending {
		return // it was asked to end already
	}
	now := f.env.ports.Clock.Now()
	one.failed = true
	one.bugs = append(slices.DeleteFunc(one.bugs, func(t time.Time) bool { return now.Sub(t) > bugWindow }), now)
	f.env.log.Error("actor of a VM failed by a bug; the guest is left alone", zap.String("vm", string(name)),
		zap.Any("why", reason), zap.Int("bugs", len(one.bugs)))
	f.env.stop(child)
}

// named is the member whose actor this is, or nil.
func (f *fleet) named(pid *actor.PID) (vm.Name, *member) {
	name := f.names[pid.Id]
	if one := f.members[name]; one != nil && one.pid.Equal(pid) {
		return name, one
	}
	return "", nil
}

// left goes on once a VM's actor has ended.
func (f *fleet) left(c actor.Context, who *actor.PID) {
	name, one := f.named(who)
	switch {
	case one == nil || f.ending:
	case one.forgot:
		delete(f.members, name)
		delete(f.names, who.Id)
		f.slots.give(one.slot)
		for _, next := range one.waiting {
			f.create(c, next)
		}
	case len(one.bugs) > bugBudget:
		f.park(name, one)
	case one.failed:
		f.rejoin(c, name, one)
	}
}

// rejoin starts a VM's actor again from its last durable record.
func (f *fleet) rejoin(c actor.Context, name vm.Name, one *member) {
	v, ok := f.env.views.get(name)
	if !ok {
		one.forgot = true // it was deleted, and failed before we heard of it
		f.left(c, one.pid)
		return
	}
	f.join(c, v.rec).bugs = one.bugs
	f.env.tell(f.env.tracker, known{id: v.rec.ID, name: name}) // what its mailbox held is lost
	f.env.views.mark(name, func(o *view) { o.bugs = len(one.bugs) })
}

// park leaves a VM without an actor: it is shown, asks are refused with the
// reason, and a restart of the daemon tries again.
func (f *fleet) park(name vm.Name, one *member) {
	f.env.awake.met(name)
	why := fmt.Sprintf("its actor failed by a bug of Blixard %d times in %s", len(one.bugs), bugWindow)
	f.env.views.mark(name, func(o *view) { o.parked = why })
	f.env.tell(f.env.tracker, known{id: one.id, name: name}) // what its mailbox held is lost
}
