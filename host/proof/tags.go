package proof

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// prefix begins the variables that say whose a process is.
const prefix = "BLIXARD_"

// Identity is whose VMMs are ours.
type Identity struct {
	// Node names the state folder that the VMs belong to: two daemons on one
	// machine never touch each other's. Make it random and keep it from other
	// users, as a process that carries it passes for ours.
	Node   string
	BootID vm.BootID
	Proc   procfs.FS
}

// Public is what stands for the node where other users can read it, as the
// environment of a systemd unit. Who carries it is ours only in a unit's cgroup,
// where no other user can put a process.
func (i Identity) Public() string {
	sum := sha256.Sum256([]byte("blixard node " + i.Node))
	return hex.EncodeToString(sum[:16])
}

// Tagged is the environment with the tags first, so that they are within what
// is read of a large one, and with no other variable that looks like one. node
// is Node or Public.
func (i Identity) Tagged(node string, c host.Command) []string {
	out := append(make([]string, 0, len(c.Env)+8),
		prefix+"NODE="+node,
		prefix+"VM="+string(c.Ref.VM),
		prefix+"NAME="+string(c.Ref.Name),
		prefix+"SLOT="+strconv.FormatUint(uint64(c.Ref.Slot), 10),
		prefix+"INCARNATION="+strconv.FormatUint(uint64(c.Ref.Incarnation), 10),
		prefix+"BOOT="+string(c.Ref.BootID),
		prefix+"MAXFILE="+strconv.FormatInt(int64(c.MaxFile), 10),
		prefix+"MAXCORE="+strconv.FormatInt(int64(c.MaxCore), 10),
	)
	for _, e := range c.Env {
		if !strings.HasPrefix(e, prefix) {
			out = append(out, e)
		}
	}
	return out
}

// ErrNotOurs is of a process or a unit that can't be proved a VMM of this node.
var ErrNotOurs = errors.New("it is not a VMM of this node")

// How long a process whose environment is empty may take to have one. An exec
// closes the daemon's lock, and the pipe by which a launch knows of it, before
// it lays the environment out: for some microseconds, or as long as a loaded
// machine lets it wait, a VMM of ours looks like a stranger (P1).
const (
	execWait  = time.Second
	emptyWait = 20 * time.Millisecond // the kernel knows where it begins and not yet where it ends; or it really is empty
	reread    = time.Millisecond
)

// Read reads the tags of a process. One in the midst of its exec is waited for.
func (i Identity) Read(pid int) (vm.Ref, error) {
	c, err := i.read(pid)
	return c.ref, err
}

func (i Identity) read(pid int) (claim, error) {
	for began := time.Now(); ; <-time.After(reread) {
		elapsed := time.Since(began)
		c, patience, err := i.glance(pid)
		if elapsed >= patience {
			return c, err
		}
	}
}

// glance reads the tags of a process once, and says how long it is worth to ask
// again.
func (i Identity) glance(pid int) (claim, time.Duration, error) {
	tags, err := i.Proc.Environ(pid, prefix)
	if errors.Is(err, procfs.ErrNoEnviron) {
		return claim{}, i.patience(pid), err
	}
	if err != nil {
		return claim{}, 0, err
	}
	c, err := i.parse(tags)
	if err == nil && c.unit {
		c.cgroup, err = i.unitOf(pid, c.ref.Name)
	}
	return c, 0, err
}

func (i Identity) patience(pid int) time.Duration {
	stat, err := i.Proc.Stat(pid)
	switch {
	case err != nil || stat.Kernel || stat.Ended():
		return 0
	case stat.Unsettled():
		return execWait
	}
	return emptyWait
}

// claim is what tags say.
type claim struct {
	ref     vm.Ref
	maxFile vm.Bytes
	maxCore vm.Bytes
	unit    bool   // it is in a unit of systemd
	cgroup  string // that unit's, with unit
}

// Parse understands the tags in an environment that isn't a process's, as that
// of a unit which has ended.
func (i Identity) Parse(env []string) (vm.Ref, error) {
	tags := map[string]string{}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			tags[rest] = value
		}
	}
	c, err := i.parse(tags)
	return c.ref, err
}

// parse understands the tags; a part of them is as good as none (P8).
func (i Identity) parse(tags map[string]string) (claim, error) {
	public := tags["NODE"] == i.Public()
	if tags["NODE"] != i.Node && !public || tags["BOOT"] != string(i.BootID) || tags["VM"] == "" {
		return claim{}, ErrNotOurs
	}
	name, err := vm.ParseName(tags["NAME"])
	if err != nil {
		return claim{}, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	slot, err := strconv.ParseUint(tags["SLOT"], 10, 32)
	if err != nil {
		return claim{}, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	n, err := strconv.ParseUint(tags["INCARNATION"], 10, 64)
	if err != nil || n == 0 {
		return claim{}, fmt.Errorf("%w: incarnation %q", ErrNotOurs, tags["INCARNATION"])
	}
	return claim{
		ref: vm.Ref{
			VM: vm.ID(tags["VM"]), Name: name, Slot: uint32(slot),
			Incarnation: vm.Incarnation(n), BootID: i.BootID,
		},
		maxFile: bytesOf(tags["MAXFILE"]), maxCore: bytesOf(tags["MAXCORE"]), unit: public,
	}, nil
}

// bytesOf is 0 where an older daemon has said nothing.
func bytesOf(tag string) vm.Bytes {
	n, err := strconv.ParseInt(tag, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return vm.Bytes(n)
}

// Slice holds the units of all VMs. One unit a VM, whatever its incarnation:
// systemd itself refuses a second one (P1).
const Slice = "blixard.slice"

// UnitName is the service that the VM runs in.
func UnitName(name vm.Name) string { return "blixard-" + string(name) + ".service" }

// unitOf is the cgroup of the VM's unit, if the system's systemd has the process
// there: a user's own systemd could make one of the same name in its own tree.
func (i Identity) unitOf(pid int, name vm.Name) (string, error) {
	path, err := i.Proc.Cgroup(pid)
	if err != nil || !strings.HasSuffix(path, "/"+Slice+"/"+UnitName(name)) || strings.Contains(path, "/user.slice/") {
		return "", ErrNotOurs
	}
	return path, nil
}

// Prove opens the process if it is one of our VMMs and lives. The pidfd is
// opened first and looked at last, so all that is read between is of one process.
func (i Identity) Prove(pid int) (*VMM, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	c, err := i.read(pid)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	stat, err := i.Proc.Stat(pid)
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	if stat.Session != pid || readable(fd) { // a child of a VMM inherits its tags, but leads no session
		return nil, errors.Join(ErrNotOurs, unix.Close(fd))
	}
	v, err := NewVMM(c.ref, i.Process(c.ref, pid, stat.StartTime), fd)
	if err != nil {
		return nil, err
	}
	v.MaxFile, v.MaxCore = c.maxFile, c.maxCore
	if c.unit {
		v.Process.Unit, v.Process.Launcher, v.Cgroup = UnitName(c.ref.Name), "systemd", c.cgroup
	}
	return v, nil
}

// Process is the proof of a process that no unit holds.
func (i Identity) Process(ref vm.Ref, pid int, startTime uint64) vm.Process {
	return vm.Process{PID: pid, StartTime: startTime, BootID: i.BootID, Unit: called(ref), Launcher: "process"}
}
