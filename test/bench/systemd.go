package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/test/node"
)

// peer is a systemd of its own in a container over the machine's own files,
// where PID 1 of the machine may be anything. It runs the command of our VMM as
// a transient unit with Restart=always and no delay.
type peer struct {
	n      *node.Node
	folder string // seen at the same path inside
	mounts []string
	nspawn *exec.Cmd
	ended  chan struct{} // closed when nspawn is reaped; nil: none runs
	init   int           // pid of its systemd
	eye    *marks
	log    string
}

// newPeer boots it and starts the unit. The error says what is missing here.
func newPeer(ctx context.Context, n *node.Node, c command) (*peer, error) {
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		return nil, errors.New("systemd-nspawn is not installed (package systemd-container)")
	}
	p := &peer{n: n, folder: filepath.Join(n.Root, "peer")}
	if err := p.start(ctx, c); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *peer) start(ctx context.Context, c command) (err error) {
	if err := p.boot(ctx); err != nil {
		return err
	}
	p.log = filepath.Join(p.folder, "console-1.log")
	if p.eye, err = watchMarks(p.folder, "BLIXARD-PVH-UP"); err != nil {
		return err
	}
	unit := []string{"systemd-run", "--unit=peer", "-p", "Restart=always", "-p", "RestartSec=0", "-p", "StartLimitIntervalSec=0", "--"}
	if out, err := p.inside(ctx, append(unit, p.argv(c)...)...); err != nil {
		return fmt.Errorf("systemd-run: %w: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err = p.eye.wait(ctx, 1); err != nil {
		status, _ := p.inside(context.WithoutCancel(ctx), "systemctl", "status", "--no-pager", "--full", "peer") // says why it isn't up
		return fmt.Errorf("%w: %s", err, status)
	}
	return nil
}

// argv is the command with sockets of its own instead of inherited ones, and
// its files where the container sees them.
func (p *peer) argv(c command) []string {
	out := make([]string, len(c.argv))
	for i, word := range c.argv {
		word = strings.Replace(word, c.log, p.log, 1)
		word = fdWord.ReplaceAllStringFunc(word, func(fd string) string {
			return "path=" + filepath.Join(p.folder, strings.TrimPrefix(fd, "fd=")+".sock")
		})
		if filepath.Dir(word) == p.n.Root { // the kernel
			inside := filepath.Join(p.folder, filepath.Base(word))
			_ = os.Link(word, inside) // if it fails, the unit does, and says so
			word = inside
		}
		out[i] = word
	}
	return out
}

func (p *peer) boot(ctx context.Context) error {
	disk := filepath.Join(p.n.Root, "overlay")
	root := filepath.Join(disk, "root")
	if err := errors.Join(os.MkdirAll(p.folder, 0o755), os.MkdirAll(disk, 0o755)); err != nil {
		return err
	}
	if err := unix.Mount("blixard-bench", disk, "tmpfs", 0, "size=256m"); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	p.mounts = append(p.mounts, disk)
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(disk, dir), 0o755); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", disk, disk)
	if err := unix.Mount("overlay", root, "overlay", 0, layers); err != nil {
		return fmt.Errorf("mounting an overlay: %w", err)
	}
	p.mounts = append(p.mounts, root)
	p.nspawn = exec.Command("systemd-nspawn", "-q", "-D", root, "-b", "--register=no", "--keep-unit", "--private-network", //nolint:noctx // ended by close
		"--capability=all", "--bind="+p.folder, "--machine=bxbench"+strconv.Itoa(os.Getpid()), "--", "--unit=basic.target")
	var said bytes.Buffer
	p.nspawn.Stdout, p.nspawn.Stderr = &said, &said
	if err := p.nspawn.Start(); err != nil {
		return fmt.Errorf("starting systemd-nspawn: %w", err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.nspawn.Wait() // it ends with what was done to its child
		close(p.ended)
	}()
	if err := p.booted(ctx); err != nil {
		return errors.Join(err, p.close(), errors.New(said.String()))
	}
	return nil
}

// booted waits until the container's systemd answers, for at most a minute.
func (p *peer) booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.init = childOf(p.nspawn.Process.Pid); p.init != 0 {
			out, _ := p.inside(ctx, "systemctl", "is-system-running", "--wait") // "degraded" is an error, and good enough
			if state := strings.TrimSpace(out); state == "running" || state == "degraded" {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.New("systemd in a container did not come up within a minute")
		case <-p.ended:
			return errors.New("systemd-nspawn ended")
		case <-tick.C:
		}
	}
}

// inside runs a command in the container.
func (p *peer) inside(ctx context.Context, argv ...string) (string, error) {
	args := append([]string{"-t", strconv.Itoa(p.init), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w"}, argv...)
	out, err := exec.CommandContext(ctx, "nsenter", args...).CombinedOutput()
	return string(out), err
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

// recovers kills the unit's VMM; systemd does the rest.
func (p *peer) recovers(ctx context.Context) (time.Duration, error) {
	var target *node.Process
	for _, one := range p.n.VMMs() {
		if strings.Contains(strings.Join(one.Argv, " "), p.log) && strings.Contains(one.Argv[0], "qemu") {
			target = &one
		}
	}
	if target == nil {
		return 0, errors.New("the unit has no VMM")
	}
	if err := os.Truncate(p.log, 0); err != nil {
		return 0, err
	}
	p.eye.forget()
	began := time.Now()
	fd, err := target.Signal(unix.SIGKILL)
	if err != nil {
		return 0, err
	}
	at, err := p.eye.wait(ctx, 1)
	return at.Sub(began), errors.Join(err, unix.Close(fd))
}

// close ends the container at once, with all that is in it. Repeating it is safe.
func (p *peer) close() error {
	if p.eye != nil {
		p.eye.close()
	}
	var err error
	if p.ended != nil {
		if p.init != 0 {
			err = unix.Kill(p.init, unix.SIGKILL) // PID 1 of its namespace, and a child of our child
		} else {
			err = p.nspawn.Process.Kill()
		}
		if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
		<-p.ended
		p.ended = nil
	}
	for i := len(p.mounts) - 1; i >= 0; i-- {
		err = errors.Join(err, unix.Unmount(p.mounts[i], unix.MNT_DETACH))
	}
	p.mounts = nil
	return err
}
