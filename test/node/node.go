package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1"
)

// Options say how to run a daemon. The zero value is fine.
type Options struct {
	Binary   string   // default: $BLIXARD_BIN
	Args     []string // more arguments of the daemon
	Env      []string // KEY=VALUE, over the environment of the test
	Launcher string   // default: process, and systemd on a machine that has one
	Config   string   // of the daemon; default: Roomy
}

// Roomy is a configuration that admits whatever a test makes: most guests of
// tests use far less than they are promised.
const Roomy = "resources: {overcommit: {cpu: 1000, memory: 100, disk: 100}, reserve: {memory: 0B, disk: 0%}}\n"

// Node is one daemon with its scratch folder, over any number of its lives.
type Node struct {
	*Client

	Root   string // scratch folder; short, because unix sockets live below it
	State  string
	Socket string
	Log    string // what all lives of the daemon wrote

	options Options
	fault   string
	life    *life
}

// life is one process of the daemon.
type life struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it is reaped
}

// ErrNoBinary is returned by New where nobody built a daemon.
var ErrNoBinary = errors.New("no daemon to run: set BLIXARD_BIN, as `make chaos` does")

// New makes the scratch folder. Nothing runs yet.
func New(o Options) (*Node, error) {
	if o.Binary == "" {
		o.Binary = os.Getenv("BLIXARD_BIN")
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, ErrNoBinary
	}
	root, err := os.MkdirTemp("", "bx")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(root, 0o755); err != nil { // VMMs run as users of their own
		return nil, err
	}
	n := &Node{
		Root: root, State: filepath.Join(root, "state"), Socket: filepath.Join(root, "blixard.sock"),
		Log: filepath.Join(root, "daemon.log"), options: o,
	}
	if err := shareImages(filepath.Join(n.State, "images")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(n.config(), []byte(orElse(o.Config, Roomy)), 0o644); err != nil {
		return nil, err
	}
	n.Client = newClient(func() string { return n.Socket })
	return n, nil
}

// shareImages puts the images of the folder $BLIXARD_GUEST into a state folder:
// by hard links, or by copies from another file system.
func shareImages(to string) error {
	from := os.Getenv("BLIXARD_GUEST")
	paths, err := filepath.Glob(filepath.Join(from, "*", "*"))
	if err != nil || from == "" {
		return err
	}
	for _, path := range paths {
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := shareFile(path, name); err != nil {
			return err
		}
	}
	return nil
}

// shareFile makes a hard link, or a copy on another file system.
func shareFile(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	about, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, about.Mode().Perm())
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Configure writes another configuration, for the next start of the daemon.
func (n *Node) Configure(config string) error {
	return os.WriteFile(n.config(), []byte(config), 0o644)
}

func (n *Node) config() string { return filepath.Join(n.Root, "blixard.yaml") }

// Args returns the command line of the daemon.
func (n *Node) Args() []string {
	return append([]string{
		n.options.Binary, "daemon", "--config", n.config(), "--state-dir", n.State, "--socket", n.Socket,
		"--launcher", orElse(n.options.Launcher, "process"), "--accel", "tcg", "--log-format", "json",
	}, n.options.Args...)
}

// Arm has the next lives of the daemon end at a point, such as written:starting;
// empty: at none. It needs the option --enable-faults.
func (n *Node) Arm(fault string) { n.fault = fault }

// Launch starts the daemon and does not wait for it.
func (n *Node) Launch() error {
	if n.life != nil {
		return errors.New("the daemon runs already")
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	args := n.Args()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(append(os.Environ(), n.options.Env...), "BLIXARD_FAULT="+n.fault)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the daemon: %w", err)
	}
	l := &life{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the state tells
		close(l.done)
	}()
	n.life = l
	return nil
}

// Start starts the daemon and returns when it answers.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Launch(); err != nil {
		return err
	}
	return n.Ready(ctx)
}

// startPause is the time between two looks at a socket that isn't there yet: a
// tenth of the shortest start that was seen.
const startPause = time.Millisecond

// Ready returns when the daemon answers, or with the end of what it wrote when it died.
func (n *Node) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(startPause)
	defer tick.Stop()
	for {
		if _, err := n.Version(ctx, connect.NewRequest(&blixardv1.VersionRequest{})); err == nil {
			return nil
		}
		select {
		case <-n.life.done:
			code := n.life.cmd.ProcessState.ExitCode()
			n.life = nil
			return fmt.Errorf("the daemon ended with %d: %s", code, n.LogTail(2000))
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %s", n.LogTail(2000))
		case <-tick.C:
		}
	}
}

// PID is the daemon's, or 0.
func (n *Node) PID() int {
	if n.life == nil {
		return 0
	}
	return n.life.cmd.Process.Pid
}

// Kill ends the daemon with SIGKILL and returns when it is gone.
func (n *Node) Kill() error {
	_, err := n.end(syscall.SIGKILL, 10*time.Second)
	return err
}

// Terminate asks the daemon to end and returns its exit code.
func (n *Node) Terminate(within time.Duration) (int, error) { return n.end(syscall.SIGTERM, within) }

// Exit waits until the daemon ends by itself and returns its exit code.
func (n *Node) Exit(within time.Duration) (int, error) { return n.end(0, within) }

func (n *Node) end(signal syscall.Signal, within time.Duration) (int, error) {
	if n.life == nil {
		return 0, errors.New("no daemon runs")
	}
	l := n.life
	if signal != 0 {
		if err := l.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return 0, err
		}
	}
	select {
	case <-l.done:
	case <-time.After(within):
		return 0, fmt.Errorf("the daemon (pid %d) still runs %v after signal %d", l.cmd.Process.Pid, within, signal)
	}
	n.life = nil
	n.HangUp()
	return l.cmd.ProcessState.ExitCode(), nil
}

// LogTail is the end of what the daemon wrote.
func (n *Node) LogTail(limit int) string {
	b, err := os.ReadFile(n.Log)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-limit):])
}

// Result is what one run of the CLI came to.
type Result struct {
	Code           int
	Stdout, Stderr string
	Took           time.Duration
}

// String is the run as a story tells it.
func (r Result) String() string {
	return "exit " + strconv.Itoa(r.Code) + "\n" + r.Stdout + r.Stderr
}

// CLI runs blixard with the arguments against this node's socket.
func (n *Node) CLI(ctx context.Context, args ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, n.options.Binary, args...)
	cmd.Env = append(os.Environ(), "BLIXARD_SOCKET="+n.Socket, "BLIXARD_STATE_DIR="+n.State)
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	began := time.Now()
	err := cmd.Run()
	if exit := (&exec.ExitError{}); err != nil && !errors.As(err, &exit) {
		return Result{}, fmt.Errorf("running blixard %v: %w", args, err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: string(out), Stderr: string(errs), Took: time.Since(began)}, nil
}

// limited keeps the first 4 MiB that are written.
type limited []byte

func (l *limited) Write(b []byte) (int, error) {
	*l = append(*l, b[:min(len(b), 4<<20-len(*l))]...)
	return len(b), nil
}

// Close ends the daemon and every VMM that it started, and removes the scratch folder.
func (n *Node) Close() error {
	var err error
	if n.life != nil {
		err = n.Kill()
	}
	n.HangUp()
	return errors.Join(err, n.sweep(), os.RemoveAll(n.Root))
}
