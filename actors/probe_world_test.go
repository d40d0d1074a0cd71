package actors_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// probedStage is a stage whose ports a test bends while it runs.
type probedStage struct {
	*stage
	frozen  gate
	jumped  atomic.Int64 // nanoseconds by which the clock is wrong
	waits   atomic.Int64 // percent of its time for which VMMs have no processor
	looked  time.Time
	waited  time.Duration
	mu      sync.Mutex
	pings   atomic.Int64
	buggy   atomic.Bool // the next ping panics
	answer  func(argv []string) (host.ExecResult, error)
	console *spokenConsole
}

func newProbed(t *testing.T, guests func(vm.Ref) fake.Guest) *probedStage {
	p := &probedStage{console: &spokenConsole{}}
	p.stage = newStage(t, guests)
	p.wrap = func(ports host.Ports) host.Ports {
		ports.Clock = bentClock{ports.Clock, p}
		ports.Agent = bentAgent{ports.Agent, p}
		ports.Meter = bentMeter{ports.Meter, p}
		p.console.Console = ports.Console
		ports.Console = p.console
		return ports
	}
	p.kill()
	return p
}

// gate holds up whoever comes while it is shut.
type gate struct {
	mu   sync.Mutex
	shut chan struct{}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

// pass says whether it had to wait.
func (g *gate) pass() bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return false
	}
	<-shut
	return true
}

type bentClock struct {
	host.Clock
	p *probedStage
}

func (c bentClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.p.jumped.Load())) }

func (c bentClock) After(d time.Duration, f func()) func() {
	return c.Clock.After(d, func() {
		c.p.frozen.pass()
		f()
	})
}

type bentAgent struct {
	host.Agent
	p *probedStage
}

func (a bentAgent) Open(ctx context.Context, f host.Paths) (host.AgentConn, error) {
	conn, err := a.Agent.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return bentConn{conn, a.p}, nil
}

type bentConn struct {
	host.AgentConn
	p *probedStage
}

// Ping that a stopped daemon sent finds its time over when that goes on.
func (c bentConn) Ping(ctx context.Context) error {
	c.p.pings.Add(1)
	if c.p.buggy.Swap(false) {
		panic("a bug of a probe")
	}
	if c.p.frozen.pass() {
		return host.Fail(host.Transient, "ping", errors.New("its time is over"))
	}
	err := c.AgentConn.Ping(ctx)
	if c.p.frozen.pass() {
		return host.Fail(host.Transient, "ping", errors.New("its time is over"))
	}
	return err
}

func (c bentConn) Exec(_ context.Context, argv []string) (host.ExecResult, error) {
	return c.p.answer(argv)
}

type bentMeter struct {
	host.Meter
	p *probedStage
}

// Look lets every VMM wait for a processor for a share of the time.
func (m bentMeter) Look(p vm.Process) (vm.Glance, error) {
	g, err := m.Meter.Look(p)
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	now := time.Now()
	if !m.p.looked.IsZero() {
		m.p.waited += now.Sub(m.p.looked) * time.Duration(m.p.waits.Load()) / 100
	}
	m.p.looked = now
	g.Waited = m.p.waited
	return g, err
}

// spokenConsole is one on which a test speaks for the guest.
type spokenConsole struct {
	host.Console
	mu    sync.Mutex
	hears []func([]byte)
	typed []string
	taken bool
	reply string
}

func (c *spokenConsole) Follow(_ host.Paths, _ int64, chunk func([]byte)) (func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hears = append(c.hears, chunk)
	return func() {}, nil
}

func (c *spokenConsole) says(text string) {
	c.mu.Lock()
	defer c.mu.Unlock() // a console tells in order
	for _, h := range c.hears {
		h([]byte(text))
	}
}

func (c *spokenConsole) Type(ctx context.Context, _ host.Paths, text string) error {
	c.mu.Lock()
	taken, reply := c.taken, c.reply
	if !taken {
		c.typed = append(c.typed, text)
	}
	c.mu.Unlock()
	if taken {
		return host.Fail(host.Denied, "type", errors.New("a person is at it"))
	}
	if reply != "" {
		c.says(reply)
	}
	<-ctx.Done()
	return nil
}

// checked is a spec with these checks, filled.
func checked(all ...vm.Check) func(*vm.Spec) {
	return func(s *vm.Spec) {
		s.Health = all
		*s = s.Filled()
	}
}

func (s *stage) newSpec(name vm.Name, change func(*vm.Spec)) {
	s.t.Helper()
	rec, _ := s.node.Get(name)
	spec := rec.Spec
	change(&spec)
	if _, err := s.node.Ask(context.Background(), name, messages.Ask{Event: vm.SpecAsked, Spec: &spec}); err != nil {
		s.t.Fatal(err)
	}
}

// unharmed says that no incarnation has ended.
func (p *probedStage) unharmed(name vm.Name) {
	p.t.Helper()
	if st := p.state(name); st.Crashes != 0 || st.Incarnation != 1 || st.Phase != vm.Running {
		p.t.Fatalf("%d crashes, incarnation %d, %s: %s", st.Crashes, st.Incarnation, st.Phase, st.Reason)
	}
}
