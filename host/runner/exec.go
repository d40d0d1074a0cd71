package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// A call is one run of a program of the runner's, bounded in time and in what
// it writes.
type call struct {
	argv     []string
	dir      string
	env      []string
	uid, gid int // 0: ours
	limit    time.Duration
	out      io.Writer // standard output; nil: the same as errors
	errors   io.Writer
}

// reapWait is how long what a killed program left may keep its output open.
const reapWait = 2 * time.Second

// run waits for the program. At the limit, or at the context's end, the whole
// process group is killed.
func (c call) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, c.env, c.out, c.errors
	if c.out == nil {
		cmd.Stdout = c.errors
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 && c.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.uid), Gid: uint32(c.gid)}
	}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = reapWait
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("not done within its time: %w", ctx.Err())
	}
	return err
}

// maxOutput bounds what is kept of one program's output.
const maxOutput = vm.MiB

// diary is the log of what is done for the VM beside its VMM. It keeps the end
// of what was written last, to tell of it.
type diary struct {
	file *os.File
	left vm.Bytes
	tail []byte
}

// openDiary begins a new log where the old one is long.
func openDiary(folder string) (*diary, error) {
	path := filepath.Join(folder, logName)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fail("open "+path, err)
	}
	if at, err := file.Stat(); err == nil && vm.Bytes(at.Size()) > maxOutput {
		_ = file.Truncate(0) // else it grows by at most one program's output
	}
	return &diary{file: file, left: maxOutput}, nil
}

func (d *diary) begin(argv []string) {
	d.left, d.tail = maxOutput, nil
	_, _ = fmt.Fprintf(d.file, "%s %q\n", time.Now().UTC().Format(time.RFC3339), argv)
}

// maxTail bounds what an error quotes of a program's output.
const maxTail = 512

// Write never fails: a program isn't to fail because its log is full.
func (d *diary) Write(b []byte) (int, error) {
	if keep := min(int(d.left), len(b)); keep > 0 {
		_, _ = d.file.Write(b[:keep])
		d.left -= vm.Bytes(keep)
	}
	d.tail = append(d.tail, b...)
	if over := len(d.tail) - maxTail; over > 0 {
		d.tail = append([]byte(nil), d.tail[over:]...)
	}
	return len(b), nil
}

func (d *diary) Close() error { return d.file.Close() }

// quote adds the last lines that the program wrote to its error.
func (d *diary) quote(err error) error {
	said := bytes.TrimSpace(d.tail)
	if err == nil || len(said) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, vm.Visible(said))
}

// code is the exit code of a program that ended by itself; -1: it didn't.
func code(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// bounded drops what comes after its limit.
type bounded struct {
	into io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	keep := min(b.left, len(p))
	b.left -= keep
	if _, err := b.into.Write(p[:keep]); err != nil {
		return 0, err
	}
	return len(p), nil
}
