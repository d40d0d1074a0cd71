package actors

import (
	"context"
	"fmt"
	"slices"
	"strings"
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

// Config is what a node is made of.
type Config struct {
	Ports    host.Ports
	Store    persistence.Store
	Log      *zap.Logger
	Observer Observer
	// Fatal ends the process non-zero; it is called when a promise was broken.
	Fatal  func(why string)
	Status func() gateway.Status // what the tree itself can't know; must not block
	Doctor func(ctx context.Context) []gateway.Finding
	// Alive is called every AliveEvery (0: never) as long as root and fleet
	// answer their messages, from the root's mailbox: it must not block for long.
	Alive      func()
	AliveEvery time.Duration
	Conduct    Conduct
	Resources  Resources
	Accel      func() string // by which VMMs are accelerated, as far as that is decided; nil: nobody knows
	// SafeMode says why nothing may be started or deleted; empty: it may. Repair
	// then writes a new store from the records and has the daemon begin anew.
	SafeMode string
	// Housekeep is called at each look of the reconciler, from a goroutine of its
	// own; LowSpace says why nothing that grows is admitted now, empty: it is.
	Housekeep func()
	LowSpace  func() string
	Repair    func(ctx context.Context, records []vm.Record, by messages.Caller) (gateway.Repaired, error)
	Crashes   vm.BundleQuota // what the evidence of deaths may hold of the disk; zero: as policies have it
}

// Conduct is how the node boots; the zero value brings back all that was wanted up.
type Conduct struct {
	Policy   policies.BootPolicy // empty: restart-all
	Parallel int                 // the most that may start at once; 0: twice as many as there are processors
	Slow     time.Duration       // a start that takes longer lets the next one begin; 0: a minute
	Strain   policies.Strain     // zero: policies.DefaultStrain
}

func (c *Conduct) fill() {
	if c.Policy == "" {
		c.Policy = policies.RestartAll
	}
	if c.Slow == 0 {
		c.Slow = time.Minute
	}
	if c.Strain == (policies.Strain{}) {
		c.Strain = policies.DefaultStrain
	}
}

// Node is the running tree. It implements gateway.Node.
type Node struct {
	env        *env
	root       *actor.PID
	fleet      *actor.PID
	reconciler *actor.PID
	repair     func(ctx context.Context, records []vm.Record, by messages.Caller) (gateway.Repaired, error)
	ended      chan struct{}
	broken     []persistence.Broken
	status     func() gateway.Status
	doctor     func(ctx context.Context) []gateway.Finding
}

// Start loads every record and starts the tree; each VM's actor wakes up on its record.
func Start(cfg Config) (*Node, error) {
	records, broken, err := cfg.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("load records: %w", err)
	}
	for i := range records {
		records[i].Renew()
	}
	cfg.Conduct.fill()
	cfg.Resources.fill()
	if cfg.Accel == nil {
		cfg.Accel = func() string { return "" }
	}
	e := &env{
		sys: newSystem(cfg.Log), ports: cfg.Ports, store: cfg.Store, views: newViews(), watch: cfg.Observer,
		log: cfg.Log, fatal: cfg.Fatal, started: cfg.Ports.Clock.Now(), turned: newRelay(), awake: newAwakening(records),
		boot: cfg.Conduct.Policy, booted: &booted{}, safe: cfg.SafeMode,
		housekeep: cfg.Housekeep, low: cfg.LowSpace, accel: cfg.Accel,
	}
	if e.first, err = e.bootsAnew(); err != nil {
		return nil, err
	}
	e.first = e.first && e.safe == ""
	e.evidence = newEvidence(e, quotaOrDefault(cfg.Crashes))
	n := &Node{env: e, ended: make(chan struct{}), broken: broken, status: cfg.Status, doctor: cfg.Doctor}
	tracked := make(chan struct{})
	fleet, joined, looks := make(chan *actor.PID, 1), make(chan struct{}), make(chan *actor.PID, 1)
	n.root = spawn(e.sys.Root, e.log, "root", func() actor.Actor {
		return &root{
			env: e, records: records, shares: cfg.Resources, tracked: tracked, broken: broken, fleet: fleet, joined: joined, looks: looks, conduct: cfg.Conduct,
			pulse: pulse{every: cfg.AliveEvery, beat: cfg.Alive},
		}
	})
	n.fleet, n.repair = <-fleet, cfg.Repair
	n.reconciler = <-looks
	<-tracked
	<-joined // a list that was answered before would miss VMs
	n.settle()
	spawn(e.sys.Root, e.log, "farewell", func() actor.Actor { return &farewell{root: n.root, ended: n.ended} })
	return n, nil
}

// settleLimit bounds the wait for VMs to meet their records: a store that stalls
// must not keep status from being answered (P11).
const settleLimit = time.Second

// settle waits until each VM has met its record: before that, status would tell
// of a boot that is over.
func (n *Node) settle() {
	late := make(chan struct{})
	cancel := n.env.ports.Clock.After(settleLimit, func() { close(late) })
	defer cancel()
	select {
	case <-n.env.awake.done:
	case <-late:
	}
}

// farewell watches the root, so that Stop can wait for it without a poll.
type farewell struct {
	root  *actor.PID
	ended chan<- struct{}
}

// Receive is the watcher's mailbox.
func (f *farewell) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		c.Watch(f.root)
	case *actor.Terminated:
		close(f.ended)
		c.Stop(c.Self())
	}
}

// Stop lets go of every VM and ends the tree; no guest notices (P6). No intent changes (P5).
func (n *Node) Stop(ctx context.Context) error {
	n.env.stop(n.root)
	select {
	case <-n.ended:
		n.env.evidence.close(ctx)
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the actor tree: %w", ctx.Err())
	}
}

// Create makes a VM, and starts it if that was asked.
func (n *Node) Create(ctx context.Context, c messages.Create) (vm.Record, error) {
	reply := make(chan messages.Answer, 1)
	n.env.tell(n.env.tracker, create{Create: c, reply: reply})
	return wait(ctx, string(c.Spec.Name), reply)
}

// Ask asks one VM's actor.
func (n *Node) Ask(ctx context.Context, name vm.Name, a messages.Ask) (vm.Record, error) {
	reply := make(chan messages.Answer, 1)
	v, r := n.env.seat(name)
	if r != nil {
		return v.rec, r
	}
	if a.Event == vm.SpecAsked {
		n.env.tell(n.env.tracker, respec{asked: asked{Ask: a, reply: reply}, name: name})
	} else {
		n.env.tell(v.pid, asked{Ask: a, reply: reply})
	}
	return n.env.waitOf(ctx, name, v.rec.ID, reply)
}

// waitOf is wait for the answer of a VM's actor. One that ends with the VM takes
// what is in its mailbox with it: then nobody answers any more.
func (e *env) waitOf(ctx context.Context, name vm.Name, id vm.ID, reply <-chan messages.Answer) (vm.Record, error) {
	for {
		changed := e.views.next(name)
		if v, ok := e.views.get(name); !ok || v.rec.ID != id {
			break
		}
		select {
		case a := <-reply:
			return answered(a)
		case <-ctx.Done():
			return vm.Record{}, noAnswer(string(name))
		case <-changed:
		}
	}
	select {
	case a := <-reply:
		return answered(a)
	default:
		return vm.Record{}, &vm.Refusal{Code: vm.NotFound, Why: string(name) + " was deleted meanwhile", Try: "blixard vm list"}
	}
}

// seat is the view of a VM whose actor can be asked.
func (e *env) seat(name vm.Name) (view, *vm.Refusal) {
	v, ok := e.views.get(name)
	if !ok {
		return view{}, &vm.Refusal{
			Code: vm.NotFound, Why: fmt.Sprintf("there is no VM named %.60q", string(name)), Try: "blixard vm list",
		}
	}
	if v.parked != "" {
		return v, &vm.Refusal{
			Code: vm.Internal, Why: fmt.Sprintf("%s is parked: %s", name, v.parked), Try: "restart the daemon; its guest lives on",
		}
	}
	return v, nil
}

// wait returns the one answer, or a refusal when the asker's time is over.
func wait(ctx context.Context, name string, reply <-chan messages.Answer) (vm.Record, error) {
	select {
	case a := <-reply:
		return answered(a)
	case <-ctx.Done():
		return vm.Record{}, noAnswer(name)
	}
}

func answered(a messages.Answer) (vm.Record, error) {
	if a.Refusal != nil {
		return a.Record, a.Refusal
	}
	return a.Record, nil
}

func noAnswer(name string) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.TimedOut, Why: name + " did not answer in time; the request may still be carried out",
		Try: "blixard vm show " + name,
	}
}

// Get reads the last durable record.
func (n *Node) Get(name vm.Name) (vm.Record, bool) {
	v, ok := n.env.views.get(name)
	return v.rec, ok
}

// List reads the last durable record of every VM, sorted by name.
func (n *Node) List() []vm.Record {
	views := n.env.views.list()
	out := make([]vm.Record, len(views))
	for i := range views {
		out[i] = views[i].rec
	}
	return out
}

// Changed is closed at the next change of that VM.
func (n *Node) Changed(name vm.Name) <-chan struct{} { return n.env.views.next(name) }

// Tree tells of every actor.
func (n *Node) Tree() []gateway.Actor {
	out := []gateway.Actor{
		{Path: "root", State: "running", Since: n.env.started},
		{Path: "root/tracker", State: "running", Since: n.env.started},
		{Path: "root/fleet", State: "running", Since: n.env.started},
	}
	for _, v := range n.env.views.list() {
		s := v.rec.State
		line := gateway.Actor{Path: "root/fleet/vm/" + string(v.rec.Spec.Name), State: s.Phase.String(), Since: s.PhaseSince, Bugs: v.bugs}
		if v.parked != "" {
			line.State = "parked"
		}
		out = append(out, line)
		if s.Phase&(vm.Preparing|vm.Live) != 0 && v.parked == "" {
			out = append(out, gateway.Actor{Path: fmt.Sprintf("%s/run-%d", line.Path, s.Incarnation), State: s.Health.String(), Since: s.HealthSince})
		}
	}
	return out
}

// Status is the node at a glance.
func (n *Node) Status() gateway.Status {
	s := n.status()
	s.StartedAt, s.Bootstrap = n.env.started, n.env.booted.get()
	s.SafeMode, s.LowSpace = n.env.safe, n.env.lowSpace()
	s.Alerts = n.alerts()
	if p := n.env.plan.Load(); p != nil {
		for _, a := range p.Actions {
			if a.State == "person" {
				s.Waiting++
			}
		}
	}
	for _, b := range n.broken {
		s.Broken = append(s.Broken, fmt.Sprintf("record %s: %s", b.ID, b.Why))
	}
	for _, v := range n.env.views.list() {
		if v.parked != "" {
			s.Broken = append(s.Broken, fmt.Sprintf("vm/%s: %s", v.rec.Spec.Name, v.parked))
		}
	}
	slices.SortFunc(s.Broken, strings.Compare)
	return s
}

// Doctor looks at the machine.
func (n *Node) Doctor(ctx context.Context) []gateway.Finding {
	if n.doctor == nil {
		return nil
	}
	return n.doctor(ctx)
}

var _ gateway.Node = (*Node)(nil)
