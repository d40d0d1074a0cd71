package process

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// prefix begins the variables that say whose a process is.
const prefix = "BLIXARD_"

// tagged is the environment with the tags first, so that they are within what
// is read of a large one, and with no other variable that looks like one.
func (l *Launcher) tagged(ref vm.Ref, env []string) []string {
	out := append(make([]string, 0, len(env)+6),
		prefix+"NODE="+l.config.Node,
		prefix+"VM="+string(ref.VM),
		prefix+"NAME="+string(ref.Name),
		prefix+"SLOT="+strconv.FormatUint(uint64(ref.Slot), 10),
		prefix+"INCARNATION="+strconv.FormatUint(uint64(ref.Incarnation), 10),
		prefix+"BOOT="+string(ref.BootID),
	)
	for _, e := range env {
		if !strings.HasPrefix(e, prefix) {
			out = append(out, e)
		}
	}
	return out
}

var errNotOurs = errors.New("it is not a VMM of this node")

// How long a process whose environment is empty may take to have one. An exec
// closes the daemon's lock, and the pipe by which a launch knows of it, before
// it lays the environment out: for some microseconds, or as long as a loaded
// machine lets it wait, a VMM of ours looks like a stranger (P1).
const (
	execWait  = time.Second
	emptyWait = 20 * time.Millisecond // the kernel knows where it begins and not yet where it ends; or it really is empty
	reread    = time.Millisecond
)

// readRef waits for the tags of a process that is in the midst of an exec.
func (l *Launcher) readRef(pid int) (vm.Ref, error) {
	for began := time.Now(); ; <-time.After(reread) {
		elapsed := time.Since(began)
		ref, patience, err := l.glance(pid)
		if elapsed >= patience {
			return ref, err
		}
	}
}

// glance reads the tags of a process once, and says how long it is worth to ask
// again.
func (l *Launcher) glance(pid int) (vm.Ref, time.Duration, error) {
	tags, err := l.config.Proc.Environ(pid, prefix)
	if errors.Is(err, procfs.ErrNoEnviron) {
		return vm.Ref{}, l.patience(pid), err
	}
	if err != nil {
		return vm.Ref{}, 0, err
	}
	ref, err := l.parseTags(tags)
	return ref, 0, err
}

func (l *Launcher) patience(pid int) time.Duration {
	stat, err := l.config.Proc.Stat(pid)
	switch {
	case err != nil || stat.Kernel || stat.Ended():
		return 0
	case stat.Unsettled():
		return execWait
	}
	return emptyWait
}

// parseTags understands the tags; a part of them is as good as none (P8).
func (l *Launcher) parseTags(tags map[string]string) (vm.Ref, error) {
	if tags["NODE"] != l.config.Node || tags["BOOT"] != string(l.config.BootID) || tags["VM"] == "" {
		return vm.Ref{}, errNotOurs
	}
	name, err := vm.ParseName(tags["NAME"])
	if err != nil {
		return vm.Ref{}, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	slot, err := strconv.ParseUint(tags["SLOT"], 10, 32)
	if err != nil {
		return vm.Ref{}, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	n, err := strconv.ParseUint(tags["INCARNATION"], 10, 64)
	if err != nil || n == 0 {
		return vm.Ref{}, fmt.Errorf("%w: incarnation %q", errNotOurs, tags["INCARNATION"])
	}
	return vm.Ref{
		VM: vm.ID(tags["VM"]), Name: name, Slot: uint32(slot),
		Incarnation: vm.Incarnation(n), BootID: l.config.BootID,
	}, nil
}

// prove opens the process if it is one of our VMMs and lives. The pidfd is
// opened first and looked at last, so all that is read between is of one process.
func (l *Launcher) prove(pid int) (*vmm, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	ref, err := l.readRef(pid)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	stat, err := l.config.Proc.Stat(pid)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if stat.Session != pid || readable(fd) { // a child of a VMM inherits its tags, but leads no session
		return nil, errors.Join(errNotOurs, unix.Close(fd))
	}
	return newVMM(ref, l.identify(ref, pid, stat.StartTime), fd)
}

func (l *Launcher) identify(ref vm.Ref, pid int, startTime uint64) vm.Process {
	return vm.Process{
		PID: pid, StartTime: startTime, BootID: l.config.BootID, Unit: unitName(ref), Launcher: Name,
	}
}
