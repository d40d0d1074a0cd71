package sim

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// bend puts the host's slowness between the daemon and its machine.
func (h *loadedHost) bend(p host.Ports) host.Ports {
	p.Clock = loadedClock{p.Clock, h}
	p.Agent = loadedAgent{p.Agent, h}
	p.Driver = loadedDriver{p.Driver, h}
	p.Reach = loadedReach{h}
	p.Console = loadedConsole{p.Console, h}
	p.Meter = loadedMeter{p.Meter, h}
	p.Machine = loadedMachine{p.Machine, h}
	return p
}

var errNotInTime = fmt.Errorf("no answer: %w", context.DeadlineExceeded)

// answer asks a guest for what takes it so long on an idle host. An answer that
// lies there when a daemon comes to itself too late is heard by chance.
func (h *loadedHost) answer(ctx context.Context, name vm.Name, by string, takes time.Duration) error {
	h.mu.Lock()
	g := h.guest(name)
	turn := g.turn(by)
	h.asked++
	takes = takes/2 + upTo(g.dice, takes)
	h.mu.Unlock()
	ready := false
	select {
	case <-turn:
		ready = h.served(ctx, g, takes)
		turn <- struct{}{}
	case <-ctx.Done():
		h.awake()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case ready && ctx.Err() == nil, ready && g.dice.IntN(2) == 0:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return host.Fail(host.Gone, "ask", ctx.Err())
	}
	h.unheard++
	return host.Fail(host.Transient, "ask", errNotInTime)
}

// served waits for the answer as long as somebody wants it, and says whether it is there.
func (h *loadedHost) served(ctx context.Context, g *loadedGuest, takes time.Duration) bool {
	h.mu.Lock()
	free := max(0, g.free()) - max(0, h.at())
	h.mu.Unlock()
	if !pause(ctx, free) { // what nobody waited for is done first
		h.awake()
		return false
	}
	h.mu.Lock()
	until := h.work(g, takes)
	left := until - h.at()
	h.mu.Unlock()
	pause(ctx, left)
	h.awake()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at() >= until
}

// pause says whether all of the time has passed.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

type loadedClock struct {
	host.Clock
	h *loadedHost
}

func (c loadedClock) Now() time.Time { return wallMoved(c.Clock.Now(), c.h.off()) }

// wallMoved is what time.Now tells once somebody has set the machine's clock:
// another time of day, and beside it the monotonic reading by which times are
// subtracted, which nobody sets. A bubble's Now has none, and no function makes
// one: so this knows how a Time is laid out, which a test checks.
func wallMoved(now time.Time, by time.Duration) time.Time {
	moved := now.Add(by)
	began := time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC) // what such a Time counts seconds from
	raw := (*struct {
		wall uint64
		ext  int64
	})(unsafe.Pointer(&moved)) //nolint:gosec // see above
	raw.wall = 1<<63 | uint64(moved.Unix()-began.Unix())<<30 | uint64(moved.Nanosecond()) //nolint:gosec // neither is negative
	raw.ext = now.UnixNano()
	return moved
}

func TestAClockThatIsSet(t *testing.T) {
	now := time.Now().Round(0)
	was, is := wallMoved(now, 5*time.Hour), wallMoved(now.Add(time.Second), -5*time.Hour)
	if d := is.Sub(was); d != time.Second {
		t.Errorf("%s passed in a second", d)
	}
	if d := is.Round(0).Sub(was.Round(0)); d != time.Second-10*time.Hour {
		t.Errorf("the clock was set by %s", d)
	}
}

func (c loadedClock) After(d time.Duration, f func()) func() {
	return c.Clock.After(d, func() {
		c.h.awake()
		f()
	})
}

type loadedAgent struct {
	host.Agent
	h *loadedHost
}

func (a loadedAgent) Open(ctx context.Context, f host.Paths) (host.AgentConn, error) {
	conn, err := a.Agent.Open(ctx, f)
	if err != nil {
		return nil, err
	}
	return loadedConn{conn, a.h, vm.Name(path.Base(f.Run))}, nil
}

type loadedConn struct {
	host.AgentConn
	h    *loadedHost
	name vm.Name
}

func (c loadedConn) Ping(ctx context.Context) error {
	if err := c.AgentConn.Ping(ctx); err != nil { // it has to be up
		return err
	}
	return c.h.answer(ctx, c.name, "agent", 30*time.Millisecond)
}

func (c loadedConn) Exec(ctx context.Context, _ []string) (host.ExecResult, error) {
	return host.ExecResult{}, c.h.answer(ctx, c.name, "agent", 80*time.Millisecond)
}

type loadedDriver struct {
	host.Driver
	h *loadedHost
}

func (d loadedDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	s, err := d.Driver.Attach(ctx, spec, f, notice)
	if err != nil {
		return nil, err
	}
	return loadedSession{s, d.h, spec.Name}, nil
}

type loadedSession struct {
	host.Session
	h    *loadedHost
	name vm.Name
}

func (s loadedSession) State(ctx context.Context) (host.GuestState, error) {
	if s.h.answersAside() {
		s.h.awake()
		return s.Session.State(ctx)
	}
	if err := s.h.answer(ctx, s.name, "qmp", 2*time.Millisecond); err != nil {
		return "", err
	}
	return s.Session.State(ctx)
}

type loadedReach struct{ h *loadedHost }

func (r loadedReach) Connect(ctx context.Context, _ string) error {
	return r.h.answer(ctx, "", "net", 10*time.Millisecond)
}

// Get asks the guest whose number is the address's last.
func (r loadedReach) Get(ctx context.Context, c vm.Check) (string, error) {
	_, last, _ := strings.Cut(c.URL, "http://10.0.0.")
	return "200", r.h.answer(ctx, vm.Name("vm-"+strings.TrimSuffix(last, "/")), "net", 40*time.Millisecond)
}

type loadedConsole struct {
	host.Console
	h *loadedHost
}

// Follow hears a guest that says every second that it lives.
func (c loadedConsole) Follow(f host.Paths, _ int64, chunk func([]byte)) (func(), error) {
	ctx, cancel := context.WithCancel(context.Background())
	name := vm.Name(path.Base(f.Run))
	c.h.mu.Lock()
	g := c.h.guest(name)
	c.h.mu.Unlock()
	go func() {
		for n := 0; pause(ctx, time.Second); n++ {
			if c.h.served(ctx, g, time.Millisecond) {
				chunk(fmt.Appendf(nil, "beat %d\n", n))
			}
		}
	}()
	return cancel, nil
}

type loadedMeter struct {
	host.Meter
	h *loadedHost
}

func (m loadedMeter) Look(p vm.Process) (vm.Glance, error) {
	g, err := m.Meter.Look(p)
	if err != nil {
		return g, err
	}
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	return m.h.glance(m.h.guest(guestOf(p))), nil
}

func (m loadedMeter) VCPUs(p vm.Process, threads []int) ([]vm.VCPU, error) {
	all, err := m.Meter.VCPUs(p, threads)
	m.h.mu.Lock()
	defer m.h.mu.Unlock()
	for i, c := range all {
		if c.State != "" {
			all[i] = m.h.vcpu(m.h.guest(guestOf(p)), c)
		}
	}
	return all, err
}

func guestOf(p vm.Process) vm.Name { return vm.Name(strings.TrimPrefix(p.Unit, "blixard-")) }

type loadedMachine struct {
	host.Machine
	h *loadedHost
}

func (m loadedMachine) Pressure() (host.Pressure, error) { return m.h.pressure(), nil }
