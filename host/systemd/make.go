package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/inherit"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
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
	p, err := pack(c, doing)
	if err != nil {
		return nil, err
	}
	defer p.close()
	name := proof.UnitName(c.Ref.Name)
	properties := properties(order{
		command: c, argv: p.argv, env: m.who.Tagged(m.who.Public(), c), shim: m.shim, before: m.before, stdin: p.stdin,
	}, resolve)
	result, err := m.bus.await(ctx, name, func(ctx context.Context, c *sd.Conn, done chan<- string) error {
		_, err := c.StartTransientUnitContext(ctx, name, "fail", properties, done)
		return err
	})
	if err != nil {
		m.settled.Store(false) // systemd may start it all the same
		return nil, failure(doing, err)
	}
	return m.started(ctx, conn, c.Ref, p, result, doing)
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

// started proves the process that the unit has, once it is the VMM.
func (m *maker) started(ctx context.Context, conn *sd.Conn, ref vm.Ref, p *parcel, result, doing string) (*proof.VMM, error) {
	name := proof.UnitName(ref.Name)
	u, word, err := m.hear(ctx, conn, name, p)
	if err != nil {
		return nil, failure(doing, err)
	}
	if u.pid != 0 && word.ended && word.why == "" {
		v, err := m.who.Prove(u.pid)
		if err == nil {
			return v, nil
		}
		if u, err = m.reaped(ctx, conn, name); err != nil {
			return nil, failure(doing, err)
		}
	}
	e, ended := u.exit()
	var why error
	switch {
	case word.why != "":
		why = errors.New(word.why)
	case u.pid != 0 && !word.ended:
		return nil, errors.Join(host.Fail(host.Transient, doing, fmt.Errorf("%s has not started it in %v: %s", m.shim, execWait, shimRemedy)), m.free(ctx, conn, u, doing))
	case ended && !word.began && u.code == cldExited: // whatever the code: the VMM's own come after the mark
		why = fmt.Errorf("its unit could not start it: exit code %d before %s became the VMM; see journalctl -u %s; %s", e.Code, m.shim, name, shimRemedy)
	case ended:
		return proof.Gone(ref, vm.Process{
			PID: u.mainPID, StartTime: u.startTime, BootID: ref.BootID, Unit: name, Launcher: Name,
		}, e), nil
	default:
		return nil, errors.Join(host.Fail(host.Transient, doing,
			fmt.Errorf("its unit is %s (%s), the job %s", u.active, u.result, result)), m.free(ctx, conn, u, doing))
	}
	return nil, errors.Join(host.Fail(host.Broken, doing, why), m.free(ctx, conn, u, doing)) // somebody has to change what it asks for
}

// hear waits until the shim has become the VMM, has said why it can't, or has
// ended. systemd may hold the pipe of one that has ended, with a socket that
// nobody has emptied, so its unit is looked at too.
func (m *maker) hear(ctx context.Context, conn *sd.Conn, name string, p *parcel) (unit, word, error) {
	for began := time.Now(); ; {
		u, err := look(ctx, conn, name)
		if err != nil {
			return unit{}, word{}, err
		}
		w, err := p.listen(jobLook, u.pid == 0)
		if err != nil || w.ended || u.pid == 0 || time.Since(began) > execWait {
			return u, w, err
		}
	}
}

// reaped looks at the unit of a process that ended, until systemd has seen that.
func (m *maker) reaped(ctx context.Context, conn *sd.Conn, name string) (unit, error) {
	changed, done := m.bus.heed(name)
	defer done()
	for began := time.Now(); ; {
		u, err := look(ctx, conn, name)
		if err != nil || u.code != 0 || !u.loaded || time.Since(began) > verdictWait {
			return u, err
		}
		select {
		case <-changed:
		case <-time.After(jobLook):
		}
	}
}

// parcel is what waits on a socket for the shim.
type parcel struct {
	argv  []string
	stdin int      // the socket's other end: the unit's standard input
	told  *os.File // where the shim says why it can't start the VMM; its end means that it could
	said  string   // what came there
}

// pack opens what the VMM inherits and queues it on a socket: from then on
// nobody but the unit is needed.
func pack(c host.Command, doing string) (*parcel, error) {
	set, err := inherit.Open(c, doing)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	fail := func(err error) (*parcel, error) { return nil, host.Fail(inherit.KindOf(err), doing, err) }
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = unix.Close(ends[0]) }()
	told, tells, err := os.Pipe()
	if err != nil {
		_ = unix.Close(ends[1])
		return fail(err)
	}
	defer tells.Close()
	p := &parcel{argv: set.Argv, stdin: ends[1], told: told}
	var files []int
	for _, fd := range append(set.Files(), tells.Fd()) {
		files = append(files, int(fd))
	}
	if err := unix.Sendmsg(ends[0], []byte{byte(len(files))}, unix.UnixRights(files...), nil, 0); err != nil {
		p.close()
		return fail(fmt.Errorf("queue %d descriptors: %w", len(files), err))
	}
	return p, nil
}

func (p *parcel) close() {
	_ = unix.Close(p.stdin) // systemd has its own
	_ = p.told.Close()
}

// execWait is how long the shim may take: it works for a millisecond, on a machine that may be loaded.
const execWait = 5 * time.Second

// maxSaid bounds what is kept of the shim's words.
const maxSaid = 4096

// shimRemedy is what a person can do about a shim that didn't become the VMM.
const shimRemedy = "if it is not of this version, make install (or make build) puts the right one there"

// shimMark is what the shim says last before it becomes the VMM.
const shimMark = "\x06"

// word is what the shim has told.
type word struct {
	began bool   // it was at the exec: from then on an exit code is the VMM's
	ended bool   // nobody can say more: it has become the VMM, or has ended
	why   string // why it can't start the VMM
}

// listen reads for at most that long what the shim says; over: only what it has
// said already, without waiting.
func (p *parcel) listen(wait time.Duration, over bool) (word, error) {
	if err := p.told.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return word{}, err
	}
	raw, err := p.told.SyscallConn()
	if err != nil {
		return word{}, err
	}
	ended := false
	read := func(fd uintptr) bool {
		for !ended {
			var b [512]byte
			n, err := unix.Read(int(fd), b[:])
			if errors.Is(err, unix.EAGAIN) {
				return false
			}
			ended = err != nil || n == 0
			if n > 0 && len(p.said) < maxSaid {
				p.said += string(b[:n])
			}
		}
		return true
	}
	if over {
		err = raw.Control(func(fd uintptr) { read(fd) })
	} else {
		err = raw.Read(read)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	why, began := strings.CutPrefix(p.said, shimMark)
	return word{began: began, ended: ended, why: why}, err
}

// resolve is where a path leads, or the path itself.
func resolve(path string) string {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		return at
	}
	return path
}
