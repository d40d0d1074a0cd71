package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is a disposable computer: a systemd and a D-Bus of its own, its own
// network, processes and boot id, over the files of this machine. What it
// writes goes to its disk, which a power cut leaves; its /run is gone then.
//
//	unshare ▶ systemd-nspawn ▶ systemd (PID 1 inside) ▶ dbus, journal, logind, …
//	            └ root: overlay of / and of Disk; Root is seen at the same path
//
// All of it hangs from one process: when that ends, so do the mounts and
// everything inside; and it ends with the test, however the test ends.
type Machine struct {
	Root string // scratch folder on the real disk, for what needs true syncs
	Disk string // what the machine wrote, on a tmpfs; to be touched only while it is off

	name  string
	binds []string // OUTSIDE:INSIDE
	power *power
	init  Process
}

// power is one life of the machine, from switching on to its end.
type power struct {
	nspawn *exec.Cmd
	said   limited
	done   chan struct{} // closed when nspawn is reaped, and with it all that ran inside
	told   *net.UnixConn // where nspawn tells how far the boot is
}

// Bounds of a machine under a busy test. Measured when idle: a boot takes
// 0.5 s, an orderly end 1.0 s, a power cut 0.1 s.
const (
	bootsWithin = time.Minute
	endsWithin  = 2 * time.Minute // systemd gives a stubborn unit 90 s
	cutWithin   = 20 * time.Second
)

// rebootCode is how nspawn ends when its systemd asks for a reboot (nspawn's EXIT_FORCE_RESTART).
const rebootCode = 133

// ErrNoMachine is returned where no machine can be made; it says what is missing.
var ErrNoMachine = errors.New("no machine with systemd can be made here")

// NewMachine lays out the disk. Nothing runs yet.
func NewMachine() (*Machine, error) {
	for _, tool := range []string{"systemd-nspawn", "dbus-daemon", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%w: %s is not installed (packages systemd-container, dbus, util-linux)", ErrNoMachine, tool)
		}
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: it takes root", ErrNoMachine)
	}
	root, err := os.MkdirTemp("", "bx")
	if err != nil {
		return nil, err
	}
	m := &Machine{Root: root, name: filepath.Base(root)}
	m.binds = []string{m.Root + ":" + m.Root}
	if err := errors.Join(os.Chmod(root, 0o755), m.layOut()); err != nil { // units run as users of their own
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// bind shows a folder of this machine inside, at another place.
func (m *Machine) bind(outside, inside string) { m.binds = append(m.binds, outside+":"+inside) }

// switchOn is what starts nspawn: in cgroups of its own, because nspawn names
// those below it alike for all machines, and below ours where a controller
// limits, so that our limits stay around them; in a mount namespace of its own, so
// that the root is unmounted with the last process, and what nspawn puts into
// /run is gone then; in a pid namespace of its own, because systemd in a
// container outlives a killed nspawn, but not the end of a namespace around it.
const switchOn = `set -e
name=$1 disk=$2; shift 2
for tree in systemd unified memory cpu cpuacct pids blkio .; do
	own=
	case $tree in memory | cpu | cpuacct | pids | blkio) own=$(sed -n "s/^[0-9]*:$tree://p" /proc/self/cgroup) ;; esac
	tree=/sys/fs/cgroup/$tree$own
	[ -e "$tree/cgroup.procs" ] || continue
	mkdir -p "$tree/$name"
	echo $$ > "$tree/$name/cgroup.procs"
done
mount -t tmpfs "$name" /run
mount -t overlay "$name" -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$disk/root"
exec systemd-nspawn "$@"
`

// beginInside is the first process inside: nspawn mounts the controllers of
// cgroups for reading alone, and a systemd that finds them so holds no limit.
const beginInside = `for c in memory cpu cpuacct pids blkio; do
	[ ! -e "/sys/fs/cgroup/$c/cgroup.procs" ] || mount -o remount,bind,rw "/sys/fs/cgroup/$c"
done
exec /lib/systemd/systemd
`

// Boot switches the machine on and returns when its systemd has started all
// that it should start, whether that worked or not.
func (m *Machine) Boot(ctx context.Context) error {
	if m.power != nil {
		return errors.New("the machine is on already")
	}
	ctx, cancel := context.WithTimeout(ctx, bootsWithin)
	defer cancel()
	notify := filepath.Join(m.Root, "notify.sock")
	_ = os.Remove(notify) // of the boot before
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		return err
	}
	args := []string{
		"--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sh", "-c", switchOn, "sh", m.name, m.Disk,
		"-q", "-D", filepath.Join(m.Disk, "root"), "--kill-signal=SIGRTMIN+3", "--register=no", "--keep-unit", "--private-network", "--capability=all",
		"--machine=" + m.name, "--link-journal=no", "--resolv-conf=off", "--timezone=off", "--notify-ready=yes", "--bind=/dev/net/tun",
		"--system-call-filter=pidfd_getfd", // which no machine but a container forbids
	}
	for _, bind := range m.binds {
		args = append(args, "--bind="+bind)
	}
	args = append(args, "sh", "-c", beginInside)
	p := &power{nspawn: exec.Command("unshare", args...), done: make(chan struct{}), told: told} //nolint:noctx // ended by cut
	p.nspawn.Env = []string{"PATH=" + machinePath, "NOTIFY_SOCKET=" + notify}
	p.nspawn.Stdout, p.nspawn.Stderr = &p.said, &p.said
	p.nspawn.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.nspawn.Start(); err != nil {
		return errors.Join(fmt.Errorf("starting systemd-nspawn: %w", err), told.Close())
	}
	go func() {
		_ = p.nspawn.Wait() // its code tells; most ends are our doing
		_ = told.Close()
		close(p.done)
	}()
	m.power = p
	if err := m.booted(ctx); err != nil {
		err = errors.Join(fmt.Errorf("booting the machine: %w", err), m.PowerCut())
		select {
		case <-p.done: // nobody writes any more
			err = errors.Join(err, errors.New(string(p.said[max(0, len(p.said)-2000):])))
		default:
		}
		return err
	}
	return nil
}

// booted reads what nspawn tells until the boot is done.
func (m *Machine) booted(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = m.power.told.SetReadDeadline(time.Now()) })
	defer stop()
	words := make([]byte, 4096)
	for {
		n, err := m.power.told.Read(words)
		if err != nil {
			return fmt.Errorf("its systemd did not come up: %w", errors.Join(err, ctx.Err()))
		}
		for line := range bytes.SplitSeq(words[:n], []byte("\n")) {
			if string(line) != "READY=1" {
				continue
			}
			nspawn := childOf(m.power.nspawn.Process.Pid)
			if m.init = (Process{PID: childOf(nspawn), Inside: 1}); insidePID(m.init.PID) != 1 {
				return errors.New("its systemd is gone already")
			}
			stop()
			go drain(m.power.told)
			return nil
		}
	}
}

// drain reads what nspawn goes on to tell: a message that nobody takes would
// block nspawn after ten of them, and with it the systemd inside.
func drain(told *net.UnixConn) {
	words := make([]byte, 4096)
	for {
		if _, err := told.Read(words); err != nil {
			return // the machine is off
		}
	}
}

// PowerCut ends everything inside at once, as pulling the plug does, and
// returns when all of it is gone. The disk stays. Repeating it is safe.
func (m *Machine) PowerCut() error {
	if m.power == nil {
		return nil
	}
	if m.On() {
		if err := m.pull(); err != nil {
			return fmt.Errorf("cutting the power: %w", err)
		}
	}
	return m.off(cutWithin)
}

// pull kills nspawn, the first process of its namespace, whose end is complete
// when all in it are gone; unshare ends after it.
func (m *Machine) pull() error {
	unshare := m.power.nspawn.Process
	for _, p := range marked(m.name) {
		if p.PID != childOf(unshare.Pid) {
			continue
		}
		fd, err := p.Signal(unix.SIGKILL)
		if err != nil || fd < 0 {
			return err
		}
		return unix.Close(fd)
	}
	if err := unshare.Kill(); !errors.Is(err, os.ErrProcessDone) { // it is at its very beginning, or at its end
		return err
	}
	return nil
}

// off waits until nothing of the machine runs, and forgets this life of it.
func (m *Machine) off(within time.Duration) error {
	select {
	case <-m.power.done:
	case <-time.After(within):
		return fmt.Errorf("the machine is still on after %v", within)
	}
	m.power, m.init = nil, Process{}
	return sweepCgroups(m.name)
}

// PowerOff asks systemd to end everything in order and returns when it has.
func (m *Machine) PowerOff(ctx context.Context) error {
	_, err := m.orderly(ctx, "poweroff")
	return err
}

// Reboot asks systemd for a reboot, as a person would, and returns when the machine is up again.
func (m *Machine) Reboot(ctx context.Context) error {
	code, err := m.orderly(ctx, "reboot")
	if err != nil {
		return err
	}
	if code != rebootCode {
		return fmt.Errorf("the machine ended with code %d instead of rebooting", code)
	}
	return m.Boot(ctx)
}

func (m *Machine) orderly(ctx context.Context, verb string) (code int, err error) {
	if m.power == nil {
		return 0, errors.New("the machine is off")
	}
	life := m.power
	out, asked := m.Run(ctx, "systemctl", verb) // may lose its connection while it waits
	if err := m.off(endsWithin); err != nil {
		return 0, fmt.Errorf("systemctl %s (%v, %q): %w", verb, asked, out, err)
	}
	return life.nspawn.ProcessState.ExitCode(), nil
}

// On says whether the machine runs.
func (m *Machine) On() bool {
	if m.power == nil {
		return false
	}
	select {
	case <-m.power.done:
		return false
	default:
		return true
	}
}

// Close ends the machine at once and removes all that was made for it. Repeating it is safe.
func (m *Machine) Close() error {
	return errors.Join(m.PowerCut(), os.RemoveAll(m.Disk), os.RemoveAll(m.Root))
}

// BootID is the machine's own, another one at each boot.
func (m *Machine) BootID() (string, error) {
	b, err := os.ReadFile(m.inside("/proc/sys/kernel/random/boot_id"))
	return strings.TrimSpace(string(b)), err
}

// childOf returns the first child of a process, or 0.
func childOf(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	fields := strings.Fields(string(b))
	if err != nil || len(fields) == 0 {
		return 0
	}
	child, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0
	}
	return child
}

// inside is the path by which this machine sees a path of the inside, while it is on.
func (m *Machine) inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", m.init.PID, path)
}

const machinePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Run runs a command inside as root and returns what it wrote.
func (m *Machine) Run(ctx context.Context, argv ...string) (string, error) {
	if !m.On() {
		return "", errors.New("the machine is off")
	}
	args := append([]string{"-t", strconv.Itoa(m.init.PID), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = []string{"PATH=" + machinePath, "LANG=C.UTF-8", "HOME=/root", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	cmd.WaitDelay = time.Second // what it started may hold its output open
	var out limited
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), nil
}

// Shell runs a script among the processes of the machine, but with the files
// and mounts of this one, where /proc/sys may be written.
func (m *Machine) Shell(ctx context.Context, script string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", "-t", strconv.Itoa(m.init.PID), "-p", "sh", "-c", script)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Journal is what the machine logged over all its boots, at least the end of
// it, of one unit or, where none is named, of all.
func (m *Machine) Journal(ctx context.Context, unit string) string {
	args := []string{"--no-pager", "-q", "-o", "short-precise", "-n", "300", "-D", filepath.Join(m.Disk, "upper/var/log/journal")}
	if unit != "" {
		args = append(args, "-u", unit)
	}
	out, err := exec.CommandContext(ctx, "journalctl", args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s(journalctl: %v)\n", out, err)
	}
	return string(out)
}
