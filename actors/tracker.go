package actors

import (
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// tracker is the resource tracker: it alone admits (P12). What grows passes
// through it on its way to the fleet or to a VM, with a reservation that counts
// from then on; whoever carried the turn out says how it ended.
//
//	Node.Create ──▶ tracker ──create──▶ fleet ──settled──▶ tracker
//	Node.Ask    ──▶ tracker ──asked───▶ vm/<name> ──settled──▶ tracker
//	                                    vm/<name> ──gone─────▶ tracker
//
// Nobody waits for it to tell what it knows: that is published (P11).
type tracker struct {
	env     *env
	conf    Resources
	records []vm.Record // what the store held at the start
	broken  []persistence.Broken
	ready   chan<- struct{} // closed when all of it counts

	book      policies.Book
	overheads policies.Overheads
	stored    policies.Overheads // what the store holds of it
	capacity  vm.Capacity        // as the machine says
	held      vm.Bytes           // of its disk, by the disks of our VMs
	unknown   string             // why the capacity isn't known; empty: it is
	over      bool               // it was told that more is promised than can be kept
	making    map[vm.Name]*making

	self     *actor.PID
	disarm   func() // cancels the next sample
	sampling bool   // one is under way
	samples  samples
	watched  watched

	reclaiming reclaiming
}

// Resources is how the node's room is reckoned and looked at; zero values take the defaults.
type Resources struct {
	Terms   policies.Terms
	Alerts  policies.AlertMarks
	Reclaim policies.ReclaimRules
	Sample  time.Duration // between two looks at what the VMs use; 0: ten seconds; negative: never, unless somebody asks
}

func (r *Resources) fill() {
	if r.Alerts == (policies.AlertMarks{}) {
		r.Alerts = policies.DefaultAlertMarks
	}
	if r.Reclaim == (policies.ReclaimRules{}) {
		r.Reclaim = policies.DefaultReclaimRules
	}
	if r.Terms == (policies.Terms{}) {
		r.Terms = policies.DefaultTerms
	}
	if r.Sample == 0 {
		r.Sample = usualSample
	}
}

// making is a name whose creation is under way: others of that name wait for
// its end, as they would count twice.
type making struct {
	id      vm.ID
	waiting []create
}

// respec is a SpecAsked on its way to its VM.
type respec struct {
	asked
	name vm.Name
}

// held is the reservation that a turn carries: tracker → fleet and vm/<name>.
type held struct {
	id          vm.ID
	turn        uint64
	reservation vm.Reservation
}

// settled: fleet or vm/<name> → tracker. The turn that carried a reservation is
// durable, and the reservation is what the record holds since; or nothing of it is.
type settled struct {
	held
	name    vm.Name
	durable bool
}

// known: fleet → tracker. A record exists that nobody asked admission for, or
// its actor began anew: it counts, whether there is room or not.
type known struct {
	id   vm.ID
	name vm.Name
}

// holds: vm/<name> → tracker. Its record holds something else since its last
// turn: the VMM that was launched with more has ended.
type holds struct {
	id          vm.ID
	reservation vm.Reservation
}

// gone: vm/<name> → tracker. The record is durably gone.
type gone struct{ id vm.ID }

// sampleDue: clock → tracker. One at a time.
type sampleDue struct{}

// sampled: a goroutine of the tracker → itself, once for each look.
type sampled struct {
	at       time.Time
	capacity vm.Capacity
	held     vm.Bytes
	unknown  string // why the capacity could not be read; empty: it was
	node     vm.NodeUsage
	whole    bool // the VMs were measured too
	usages   usages
}

// look reads the capacity; it may wait for the disk.
func (m *sampled) look(e *env) {
	var err error
	if m.capacity, m.held, err = e.ports.Machine.Capacity(); err != nil {
		m.unknown = err.Error()
	}
}

// need is what a spec would hold.
func (t *tracker) need(s vm.Spec) vm.Reservation {
	return vm.ReservationFor(s, t.overheads.For(s, t.env.accel()))
}

// freshAsked: node → tracker. Wants a look that isn't older than a second;
// ready is closed after it.
type freshAsked struct{ ready chan<- struct{} }

// Receive is the tracker's mailbox.
func (t *tracker) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		t.start(c)
	case create:
		t.create(m)
	case respec:
		t.respec(m)
	case rebuilt:
		m.turn = t.book.Hold(m.rec.ID, m.rec.Holds()) // it exists: never refused
		m.id, m.reservation = m.rec.ID, m.rec.Holds()
		t.publish()
		t.env.tell(t.env.fleet, m)
	case settled:
		t.settle(m)
	case known:
		if v, ok := t.env.views.get(m.name); ok && v.rec.ID == m.id { // else it is gone, and that is on its way
			t.book.Know(m.id, v.rec.Holds())
		}
		t.publish()
	case holds:
		t.book.Stand(m.id, m.reservation)
		t.publish()
	case reclaimDone:
		t.reclaimed(m)
	case gone:
		t.book.Forget(m.id)
		t.publish()
	case sampleDue:
		t.sample()
	case sampled:
		t.sampled(m)
	case freshAsked:
		t.fresh(m)
	case *actor.Stopping:
		t.disarm()
	}
}

func (t *tracker) start(c actor.Context) {
	t.self, t.disarm, t.making = c.Self(), func() {}, map[vm.Name]*making{}
	for _, r := range t.records {
		t.book.Know(r.ID, r.Holds())
	}
	for _, b := range t.broken {
		t.book.Know(b.ID, b.Reservation) // its VM may run (P13)
	}
	t.records = nil
	t.overheads = overheadsIn(t.env.store, t.env.log)
	t.stored = t.overheads
	t.watched = watchedIn(t.env.store, t.env.log)
	has := sampled{at: t.env.ports.Clock.Now()}
	has.look(t.env)
	t.reckon(has) // before anything is asked, as nothing is admitted until it is known
	t.publish()
	close(t.ready)
	t.sample()
}

// create admits a new VM, or refuses it with the numbers.
func (t *tracker) create(m create) {
	name := m.Spec.Name
	if first := t.making[name]; first != nil {
		first.waiting = append(first.waiting, m)
		return
	}
	if _, there := t.env.views.get(name); there {
		m.reply <- messages.Answer{Refusal: nameTaken(name)}
		return
	}
	need := t.need(m.Spec)
	if r := policies.Admit(t.account(), policies.Request{Name: name, Need: need, Memory: m.Spec.Memory}); r != nil {
		m.reply <- messages.Answer{Refusal: r}
		return
	}
	m.held = held{id: vm.NewID(), reservation: need}
	m.turn = t.book.Hold(m.id, need)
	t.making[name] = &making{id: m.id}
	t.publish()
	t.env.tell(t.env.fleet, m)
}

// respec admits a new spec by what it needs more than the old one.
func (t *tracker) respec(m respec) {
	v, r := t.env.seat(m.name)
	if r != nil {
		m.reply <- messages.Answer{Record: v.rec, Refusal: r}
		return
	}
	need := t.need(*m.Spec)
	if r := policies.Admit(t.account(), policies.Request{Name: m.name, Had: t.book.Of(v.rec.ID), Need: need, Memory: m.Spec.Memory}); r != nil {
		m.reply <- messages.Answer{Record: v.rec, Refusal: r}
		return
	}
	m.held = held{id: v.rec.ID, reservation: need, turn: t.book.Hold(v.rec.ID, need)}
	t.publish()
	t.env.tell(v.pid, m.asked)
}

// settle ends a turn that carried a reservation, and lets who waited for it go on.
func (t *tracker) settle(m settled) {
	t.book.Settle(m.id, m.turn, m.reservation, m.durable)
	t.publish()
	one := t.making[m.name]
	if one == nil || one.id != m.id { // a late word on a VM of that name which is gone
		return
	}
	delete(t.making, m.name)
	for _, next := range one.waiting {
		t.create(next)
	}
}

// nameTaken refuses a name that a VM has.
func nameTaken(name vm.Name) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.Exists, Why: fmt.Sprintf("a VM named %s exists already", name),
		Try: "choose another name, or change it with `blixard apply`",
	}
}
