package fake

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

type driver struct{ d *Daemon }

func (driver) Command(ref vm.Ref, spec vm.Spec, f host.Paths) (host.Command, error) {
	c := host.Command{Ref: ref, Argv: []string{"/fake/vmm"}}
	if f.Load != "" {
		c.Files = []host.File{{Name: "saved", Path: f.Load}}
	}
	if spec.Dump.Core {
		c.MaxCore = vm.GiB
	}
	for _, name := range tapNames(ref, spec.Networks) {
		c.Taps = append(c.Taps, host.Tap{Name: name, Link: name})
	}
	return c, nil
}

func (driver) Prepare(context.Context, vm.Ref, vm.Spec, host.Paths) error { return nil }

func (driver) Release(context.Context, vm.Ref, vm.Spec, host.Paths) error { return nil }

// Attach finds the live VMM by the run folder of its VM.
func (v driver) Attach(ctx context.Context, _ vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	if err := v.d.call(ctx, "attach "+f.Run, v.d.faults().Attach); err != nil {
		v.d.world.hinderAt(f)
		return nil, err
	}
	w := v.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.at(f)
	if p == nil || p.nameless {
		return nil, host.Fail(host.Gone, "attach", errNone)
	}
	s := &session{p: p, d: v.d, notice: notice}
	p.sessions[s] = true
	return s, nil
}

// at is the live VMM whose sockets stand at these paths.
func (w *World) at(f host.Paths) *process {
	for _, p := range w.named[vm.Name(path.Base(f.Run))] {
		if host.NewPaths("/state", "/run", p.ref).Run == f.Run {
			return p
		}
	}
	return nil
}

type session struct {
	p      *process
	d      *Daemon
	notice func(host.Notice)
	closed atomic.Bool
}

func (s *session) tell(n host.Notice) {
	if !s.closed.Load() && !s.d.dead() {
		s.notice(n)
	}
}

// with acts on the live VMM.
func (s *session) with(ctx context.Context, act func(*process)) error {
	if err := s.d.call(ctx, "session "+string(s.p.ref.Name), 0); err != nil {
		return err
	}
	s.d.world.mu.Lock()
	defer s.d.world.mu.Unlock()
	if s.p.ended || s.d.dead() || s.closed.Load() {
		return host.Fail(host.Gone, "command", errNone)
	}
	act(s.p)
	return nil
}

func (s *session) State(ctx context.Context) (state host.GuestState, err error) {
	err = s.with(ctx, func(p *process) { state = p.state })
	return state, err
}

// VCPUs tells of one thread, unless World.VCPUs says otherwise. It fails by no
// dice: whoever looks at processors is to leave a seed's story as it is.
func (s *session) VCPUs(context.Context) ([]int, error) {
	s.d.world.mu.Lock()
	defer s.d.world.mu.Unlock()
	if s.p.ended || s.d.dead() {
		return nil, host.Fail(host.Gone, "command", errNone)
	}
	if s.p.threads != nil {
		return slices.Clone(s.p.threads), nil
	}
	return []int{s.p.vcpu().Thread}, nil
}

func (s *session) PowerDown(ctx context.Context) error { return s.with(ctx, (*process).powerDown) }
func (s *session) Pause(ctx context.Context) error {
	return s.undumped(ctx, "stop", func(p *process) { p.turn(host.GuestRuns, host.GuestPaused) })
}

// undumped acts on a VMM that writes no dump: one that does refuses, as QEMU does.
func (s *session) undumped(ctx context.Context, doing string, act func(*process)) error {
	refused := false
	err := s.with(ctx, func(p *process) {
		if refused = p.dumps > 0; !refused {
			act(p)
		}
	})
	if err == nil && refused {
		err = host.Fail(host.Transient, doing, errors.New("there is a dump in process, please wait until finished"))
	}
	return err
}

func (s *session) Resume(ctx context.Context) error {
	return s.undumped(ctx, "cont", func(p *process) {
		p.turn(host.GuestPaused, host.GuestRuns)
		p.turn(host.GuestSaved, host.GuestRuns)
		p.runsOn()
		p.roomAgain()
	})
}

// Reset lets the guest boot again, whatever it did. Nobody looks at what it said before.
func (s *session) Reset(ctx context.Context) error {
	return s.with(ctx, func(p *process) {
		p.state, p.console = host.GuestRuns, nil
		p.boots()
	})
}

// turn changes the guest's state; one that is off or panicked can't be paused nor go on.
func (p *process) turn(from, to host.GuestState) {
	if p.state == from {
		p.state = to
	}
}

func (s *session) Quit(ctx context.Context) error {
	return s.with(ctx, func(p *process) {
		if p.state != host.GuestOff {
			p.world.promise("P6", "%s/%d was told to quit while its guest was %s", p.ref.Name, p.ref.Incarnation, p.state)
		}
		p.end(vm.Exit{Known: true}, true)
	})
}

// Dump writes what stands for the guest's memory, and takes as long as
// World.Dumps says. Meanwhile the guest stands still.
func (s *session) Dump(ctx context.Context, format vm.DumpFormat, into io.Writer) error {
	var takes time.Duration
	if err := s.with(ctx, func(p *process) { p.dumps, takes = p.dumps+1, p.world.dumps }); err != nil {
		return err
	}
	defer func() {
		s.d.world.mu.Lock()
		s.p.dumps--
		s.d.world.mu.Unlock()
	}()
	if err := wait(ctx, takes); err != nil {
		return host.Fail(host.Transient, "dump", err)
	}
	if _, err := io.WriteString(into, "memory of a fake guest "+string(format)); err != nil {
		return host.Fail(host.Transient, "dump", err)
	}
	return s.with(ctx, func(*process) {}) // gone meanwhile?
}

// Dumps sets how long a dump of a guest's memory takes from now on.
func (w *World) Dumps(takes time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dumps = takes
}

// Runs says whether the live VMM of that name lets its guest run.
func (w *World) Runs(name vm.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		return p.state == host.GuestRuns && p.dumps == 0
	}
	return false
}

// Timed is how often the guest of the live VMM of that name was told the time.
func (w *World) Timed(name vm.Name) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.named[name] {
		return p.timed
	}
	return 0
}

func (s *session) Close() {
	s.closed.Store(true)
	s.d.world.mu.Lock()
	defer s.d.world.mu.Unlock()
	delete(s.p.sessions, s)
}

// powerDown is what a guest does that was asked to end.
func (p *process) powerDown() {
	if !p.guest.Deaf && !p.silent && p.state == host.GuestRuns {
		p.later(1, func() { p.stand(host.GuestOff, host.NoticePowerOff) })
	}
}

type agent struct{ d *Daemon }

func (a agent) Open(_ context.Context, f host.Paths) (host.AgentConn, error) {
	w := a.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.at(f)
	if p == nil || p.agentless {
		return nil, host.Fail(host.Gone, "open agent", errNone)
	}
	c := &agentConn{d: a.d, p: p}
	p.clients = append(p.clients, c)
	return c, nil
}

// served says whether the agent hears this client: another one that is open
// came first. The world's lock is held.
func (c *agentConn) served() bool {
	for _, one := range c.p.clients {
		if !one.d.dead() {
			return one == c
		}
	}
	return false
}

type agentConn struct {
	d *Daemon
	p *process
}

// Ping waits until the guest is up, however early it is sent, and until the
// clients that came before are gone.
func (c *agentConn) Ping(ctx context.Context) error {
	w := c.d.world
	if err := w.goesOn(ctx); err != nil {
		return err
	}
	for {
		w.mu.Lock()
		up, silent, ended, served, left := c.p.answered, c.p.silent, c.p.ended, c.served(), c.p.parted
		w.mu.Unlock()
		if ended {
			return host.Fail(host.Gone, "ping", errNone)
		}
		if served {
			left = nil
		}
		if silent || !served {
			up = nil
		}
		select {
		case <-up:
			return nil
		case <-left:
		case <-c.p.gone:
			return host.Fail(host.Gone, "ping", errNone)
		case <-ctx.Done():
			return host.Fail(host.Transient, "ping", ctx.Err())
		}
	}
}

func (c *agentConn) Shutdown(context.Context) error {
	c.d.world.mu.Lock()
	defer c.d.world.mu.Unlock()
	if c.p.ended || c.d.dead() {
		return host.Fail(host.Gone, "shutdown", errNone)
	}
	up := c.p.answered
	select {
	case <-up:
		c.p.powerDown()
	default: // read as soon as the guest is up
		go c.shutdownWhenUp(up)
	}
	return nil
}

func (c *agentConn) shutdownWhenUp(up chan struct{}) {
	select {
	case <-up:
	case <-c.p.gone:
	}
	c.d.world.mu.Lock()
	defer c.d.world.mu.Unlock()
	if !c.p.ended {
		c.p.powerDown()
	}
}

func (c *agentConn) Exec(context.Context, []string) (host.ExecResult, error) {
	return host.ExecResult{}, host.Fail(host.Broken, "exec", errors.New("the fake guest has no programs"))
}

func (c *agentConn) Close() {
	c.d.world.mu.Lock()
	defer c.d.world.mu.Unlock()
	c.p.clients = slices.DeleteFunc(c.p.clients, func(one *agentConn) bool { return one == c })
	close(c.p.parted)
	c.p.parted = make(chan struct{})
}
