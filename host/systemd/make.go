package systemd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/inherit"
	"github.com/blixard/blixard/host/proof"
)

const sigkill = unix.SIGKILL

// makeWithin bounds a launch whose caller has no deadline.
const makeWithin = startWithin + 10*time.Second

var errTaken = errors.New("the name of its unit is taken by one that isn't provably ours")

// Make starts the unit. What it can't finish it takes back, unless systemd
// doesn't answer: then a later scan finds the VMM, or the name free.
func (m *maker) Make(ctx context.Context, c host.Command, doing string) (*proof.VMM, error) {
	ctx, cancel := context.WithTimeout(ctx, makeWithin)
	defer cancel()
	conn, err := m.bus.get()
	if err != nil {
		return nil, failure(doing, err)
	}
	if err := m.vacate(ctx, conn, c, doing); err != nil {
		return nil, err
	}
	stdin, argv, err := pack(c, doing)
	if err != nil {
		return nil, err
	}
	name := proof.UnitName(c.Ref.Name)
	properties := properties(order{
		command: c, argv: argv, env: m.who.Tagged(m.who.Public(), c), shim: m.shim, before: m.before, stdin: stdin,
	}, resolve)
	result, err := m.bus.await(ctx, func(ctx context.Context, c *sd.Conn, done chan<- string) error {
		_, err := c.StartTransientUnitContext(ctx, name, "fail", properties, done)
		return err
	})
	_ = unix.Close(stdin) // systemd has its own
	if err != nil {
		return nil, failure(doing, err)
	}
	return m.started(ctx, conn, name, result, doing)
}

// vacate frees the unit's name of a VMM that has ended.
func (m *maker) vacate(ctx context.Context, conn *sd.Conn, c host.Command, doing string) error {
	u, err := look(ctx, conn, proof.UnitName(c.Ref.Name))
	if err != nil {
		return failure(doing, err)
	}
	if !u.loaded {
		return nil
	}
	of, err := m.who.Parse(u.env)
	if err != nil {
		return host.Fail(host.Broken, doing, fmt.Errorf("%w (%s, %s); look at it with systemctl status %s and free it with systemctl stop and systemctl reset-failed", errTaken, u.active, u.sub, u.name)) // P8
	}
	if !u.dead() {
		return host.Fail(host.Transient, doing, fmt.Errorf("incarnation %d of VM %s is %s in %s", of.Incarnation, of.VM, u.active, u.name))
	}
	if e, ok := u.exit(); ok {
		m.remember(of, e)
	}
	return m.free(ctx, conn, u, doing)
}

// started proves the process that the unit has.
func (m *maker) started(ctx context.Context, conn *sd.Conn, name, result, doing string) (*proof.VMM, error) {
	u, err := look(ctx, conn, name)
	if err != nil {
		return nil, failure(doing, err)
	}
	var v *proof.VMM
	if result == "done" && u.pid != 0 {
		if v, err = m.who.Prove(u.pid); err == nil {
			return v, nil
		}
		if u, err = look(ctx, conn, name); err != nil {
			return nil, failure(doing, err)
		}
	}
	why := fmt.Errorf("its unit is %s (%s), the job %s", u.active, u.result, result)
	if e, ended := u.exit(); ended {
		why = fmt.Errorf("it ended at once: %s, exit code %d, signal %d", e.Result, e.Code, e.Signal)
	}
	kind := host.Transient
	if u.code == cldExited && u.status >= 200 { // systemd's own: it could not make what the unit asks for
		kind = host.Broken
	}
	return nil, errors.Join(host.Fail(kind, doing, why), m.free(ctx, conn, u, doing))
}

// pack opens what the VMM inherits and queues it on a socket, whose other end
// it returns: from then on nobody but the unit is needed.
func pack(c host.Command, doing string) (stdin int, argv []string, err error) {
	set, err := inherit.Open(c, doing)
	if err != nil {
		return -1, nil, err
	}
	defer set.Close()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, host.Fail(inherit.KindOf(err), doing, err)
	}
	defer func() { _ = unix.Close(ends[0]) }()
	var files []int
	for _, fd := range set.Files() {
		files = append(files, int(fd))
	}
	if err := unix.Sendmsg(ends[0], []byte{byte(len(files))}, unix.UnixRights(files...), nil, 0); err != nil {
		_ = unix.Close(ends[1])
		return -1, nil, host.Fail(inherit.KindOf(err), doing, fmt.Errorf("queue %d descriptors: %w", len(files), err))
	}
	return ends[1], set.Argv, nil
}

// resolve is where a path leads, or the path itself.
func resolve(path string) string {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		return at
	}
	return path
}
