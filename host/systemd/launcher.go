// Package systemd launches each VMM in a transient service of its own.
//
//	Make ─ descriptors on a socket, StartTransientUnit ─▶ blixard-vmm ─ exec ─▶ VMM
//	       blixard-<name>.service in blixard.slice ─▶ proof.VMM{pidfd}
//	End  ─ pidfd is readable ─▶ Result, exit code, CPU time by the bus
//	Clear ─ the dead unit is stopped and reset, so that its name is free
//
// The name has no incarnation in it: systemd itself refuses a second VMM of one
// VM (P1). A unit stays when its VMM ends, however it ends, so that a daemon that
// was down can still read the verdict; the next launch, a kill
// or its VM's deletion frees it.
//
// Who lives is known from /proc and pidfds (package proof), not from the bus: a
// bus that is lost holds launches, kills and deletions up and disturbs nothing
// that runs.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/cgroup"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// Name is the launcher's name in records.
const Name = "systemd"

// Config of a launcher.
type Config struct {
	Node   string // see proof.Identity
	BootID vm.BootID
	Lock   string    // file that keeps a second launcher of the node out; empty: none
	Shim   string    // absolute path of blixard-vmm; empty: beside our own binary, or in libexec/blixard of its prefix
	Before string    // the daemon's own unit; empty: blixard.service
	Proc   procfs.FS // zero: the kernel's

	// Reconnected is called, from a goroutine of its own, each time that systemd
	// answers again after it didn't: what happened meanwhile is found by a List.
	Reconnected func()

	socket string  // of PID 1; empty: private
	groups cgroups // empty: where the kernel's are mounted by everybody
}

// Launcher is the host.Launcher of one node. Close it to let go of all VMMs.
type Launcher struct {
	*proof.Seats
	bus   *bus
	hands *maker
	lock  *os.File
	keep  time.Duration // keepDead

	limits cgroup.Systemd

	mu  sync.Mutex
	due map[string]time.Time // dead units, and when each is to be looked at
}

var _ host.Launcher = (*Launcher)(nil)

// Available says why this launcher can't be had here; nil: it can.
func Available(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("only root may make units of the system")
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return errors.New("this machine was not booted by systemd")
	}
	b, err := openBus(private, func() {})
	if err != nil {
		return fmt.Errorf("systemd doesn't answer on %s: %w", private, err)
	}
	defer b.close()
	conn, err := b.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	if _, err := conn.ListUnitsByNamesContext(ctx, []string{proof.Slice}); err != nil {
		return fmt.Errorf("systemd doesn't answer: %w", err)
	}
	return nil
}

// fill sets what was left empty.
func (c *Config) fill() error {
	if c.Proc.Root == "" {
		c.Proc = procfs.Default
	}
	if c.Before == "" {
		c.Before = "blixard.service"
	}
	if c.socket == "" {
		c.socket = private
	}
	if c.groups == "" {
		c.groups = "/sys/fs/cgroup"
	}
	if c.Reconnected == nil {
		c.Reconnected = func() {}
	}
	if c.Shim == "" {
		own, err := os.Executable()
		if err != nil {
			return err
		}
		c.Shim = filepath.Join(filepath.Dir(own), "blixard-vmm")
		if _, err := os.Stat(c.Shim); err != nil { // installed: helpers are no commands of people
			c.Shim = filepath.Join(filepath.Dir(own), "../libexec/blixard/blixard-vmm")
		}
	}
	if info, err := os.Stat(c.Shim); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s can't be run: make install puts it there, make build beside blixard", c.Shim)
	}
	return nil
}

// New makes a launcher.
func New(c Config) (*Launcher, error) {
	const doing = "make the systemd launcher"
	if err := c.fill(); err != nil {
		return nil, host.Fail(host.Broken, doing, err)
	}
	hands := &maker{who: proof.Identity{Node: c.Node, BootID: c.BootID, Proc: c.Proc}, groups: c.groups, shim: c.Shim, before: c.Before}
	seats, err := proof.NewSeats(hands.who, hands)
	if err != nil {
		return nil, err
	}
	hands.remember = seats.Remember
	hands.bus, err = openBus(c.socket, c.Reconnected)
	if err != nil {
		return nil, host.Fail(host.Transient, doing, err)
	}
	l := &Launcher{Seats: seats, bus: hands.bus, hands: hands, keep: keepDead}
	if c.Lock == "" {
		return l, nil
	}
	if l.lock, err = proof.Lock(c.Lock); err != nil {
		l.bus.close()
		return nil, err
	}
	return l, nil
}

// Name is "systemd".
func (l *Launcher) Name() string { return Name }

// Close lets go of every VMM; they live on. Watchers are not called any more.
func (l *Launcher) Close() error {
	l.Seats.Close()
	l.bus.close()
	if l.lock != nil {
		return l.lock.Close()
	}
	return nil
}

// Verdict is what we saw ourselves or, of an incarnation that ended while no
// daemon looked, what its unit says.
func (l *Launcher) Verdict(ctx context.Context, ref vm.Ref, hint *vm.Process) (vm.Exit, error) {
	seen, err := l.Seats.Verdict(ctx, ref, hint)
	if err == nil && seen.Known {
		return seen, nil
	}
	doing := "read the verdict of " + proof.UnitName(ref.Name)
	conn, away := l.bus.get()
	if away != nil {
		return vm.Exit{}, failure(doing, away)
	}
	u, failed := look(ctx, conn, proof.UnitName(ref.Name))
	if failed != nil {
		return vm.Exit{}, failure(doing, failed)
	}
	of, foreign := l.Identity().Parse(u.env)
	if foreign == nil && of.VM == ref.VM && of.Incarnation == ref.Incarnation {
		if e, ok := u.exit(); ok {
			return e, nil
		}
	}
	return seen, err
}

// maker is what this launcher does with its own hands.
type maker struct {
	who      proof.Identity
	bus      *bus
	groups   cgroups
	shim     string
	before   string
	remember func(vm.Ref, vm.Exit)
	settled  atomic.Bool // nothing was asked of systemd that a scan could miss; see Settle
}

// verdictWait is how long systemd may take to reap a VMM whose pidfd has told
// of its end: its memory is freed by then, so it is short unless PID 1 is busy.
const verdictWait = 3 * time.Second

// End asks the unit. Without an answer the kernel's word is all there is.
func (m *maker) End(v *proof.VMM) vm.Exit {
	at := time.Now()
	var counted cgroup.Memory
	if v.Process.Launcher == Name {
		counted = m.groups.memory(v.Cgroup) // first: systemd removes the cgroup of what it has reaped
		ctx, cancel := context.WithTimeout(context.Background(), verdictWait)
		defer cancel()
		if e, ok := m.verdict(ctx, v); ok {
			if e.MemoryPeak == 0 {
				e.MemoryPeak = counted.Peak
			}
			return starved(v, e, counted)
		}
	}
	e := v.Reap(m.who.Proc)
	e.At, e.MemoryPeak = at, counted.Peak
	return starved(v, e, counted)
}

// Clean has nothing to do: the cgroup is systemd's.
func (m *maker) Clean(*proof.VMM) {}

// starved adds who the kernel killed for want of memory, if that was the end.
// systemd says so itself in version 2 alone, and never whose memory it was.
func starved(v *proof.VMM, e vm.Exit, counted cgroup.Memory) vm.Exit {
	if v.Process.Launcher == Name && (!e.Known || e.Signal == int(sigkill)) {
		e.OOM = cgroup.OutOfMemory(counted, v.Cgroup, fmt.Sprintf("%s, process %d", v.Process.Unit, v.Process.PID))
	}
	return e
}

// verdict waits until systemd has reaped it.
func (m *maker) verdict(ctx context.Context, v *proof.VMM) (vm.Exit, bool) {
	changed, done := m.bus.heed(v.Process.Unit)
	defer done()
	for {
		if conn, err := m.bus.get(); err == nil {
			u, err := look(ctx, conn, v.Process.Unit)
			if err == nil && (!u.loaded || u.mainPID != v.Process.PID) {
				return vm.Exit{}, false // somebody has freed it, or has its name
			}
			if e, ok := u.exit(); err == nil && ok {
				return e, true
			}
		}
		select {
		case <-ctx.Done():
			return vm.Exit{}, false
		case <-changed:
		case <-time.After(jobLook):
		}
	}
}

// Adopted has nothing to do: a unit has had its limits since before its exec.
func (m *maker) Adopted(*proof.VMM) {}

// Settle waits for the units that a daemon before us had asked for: their VMMs
// carry no tags before systemd's exec. Once that is done only our own launches
// are under way, which their callers know of, and a scan needs no bus: /proc and
// cgroups alone prove who lives. A launch that was lost with the bus is as
// another daemon's.
func (m *maker) Settle(ctx context.Context) error {
	if m.settled.Load() {
		return nil
	}
	conn, err := m.bus.get()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		starting, err := conn.ListUnitsByPatternsContext(ctx, []string{"activating"}, []string{proof.UnitName("*")})
		if err != nil {
			return err
		}
		if len(starting) == 0 {
			m.settled.Store(true)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is being started: %w", starting[0].Name, ctx.Err())
		case <-time.After(5 * time.Millisecond): // once in a life of ours, so nothing is gained by being told
		}
	}
}

// Clear kills what is left in the unit of a dead incarnation and frees its name.
func (m *maker) Clear(ctx context.Context, ref vm.Ref, doing string) error {
	conn, err := m.bus.get()
	if err != nil {
		return failure(doing, err)
	}
	u, err := look(ctx, conn, proof.UnitName(ref.Name))
	if err != nil {
		return failure(doing, err)
	}
	if of, foreign := m.who.Parse(u.env); u.loaded && foreign == nil && of.VM == ref.VM && of.Incarnation <= ref.Incarnation { // P8
		return m.free(ctx, conn, u, doing)
	}
	return nil
}

// free ends and forgets a unit that was proved ours.
func (m *maker) free(ctx context.Context, conn *sd.Conn, u unit, doing string) error {
	if !u.dead() {
		err := conn.KillUnitWithTarget(ctx, u.name, sd.All, int32(sigkill))
		if err != nil && !named(err, "org.freedesktop.systemd1.NoSuchProcess") && !named(err, "org.freedesktop.systemd1.NoSuchUnit") {
			return failure(doing, err)
		}
	}
	if u.active != "failed" && u.active != "inactive" {
		_, err := m.bus.await(ctx, u.name, func(ctx context.Context, c *sd.Conn, done chan<- string) error {
			_, err := c.StopUnitContext(ctx, u.name, "replace", done)
			return err
		})
		if err != nil && !named(err, "org.freedesktop.systemd1.NoSuchUnit") {
			return failure(doing, err)
		}
	}
	return m.unload(ctx, conn, u.name, doing)
}

// unload waits until systemd has forgotten a dead unit.
func (m *maker) unload(ctx context.Context, conn *sd.Conn, name, doing string) error {
	changed, done := m.bus.heed(name)
	defer done()
	for {
		if err := conn.ResetFailedUnitContext(ctx, name); err != nil && !named(err, "org.freedesktop.systemd1.NoSuchUnit") {
			return failure(doing, err)
		}
		left, err := conn.ListUnitsByNamesContext(ctx, []string{name})
		if err != nil {
			return failure(doing, err)
		}
		if len(left) == 0 || left[0].LoadState == "not-found" || left[0].ActiveState == "inactive" {
			return nil
		}
		if left[0].ActiveState == "active" || left[0].ActiveState == "activating" {
			return host.Fail(host.Transient, doing, fmt.Errorf("somebody has started %s anew", name))
		}
		select {
		case <-ctx.Done():
			return host.Fail(host.Transient, doing, fmt.Errorf("%s is still %s: %w", name, left[0].ActiveState, ctx.Err()))
		case <-changed:
		case <-time.After(jobLook):
		}
	}
}
