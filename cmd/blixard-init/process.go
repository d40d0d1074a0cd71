package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxProcesses bounds what guest-exec started and nobody asked about.
const maxProcesses = 64

// maxOutput bounds each of a process's two streams; the rest is read and dropped.
const maxOutput = 256 << 10

// processes are the children that guest-exec started. One goroutine reaps while
// any child lives; orphans become children of PID 1, so it reaps them as well.
type processes struct {
	lock    sync.Mutex
	byPID   map[int]*process
	order   []int
	reaping bool
}

// process is one child, and what is known of it.
type process struct {
	ended    bool
	status   unix.WaitStatus
	streams  sync.WaitGroup
	closed   atomic.Bool // both streams have ended
	out, err capture     // to be read once closed
}

// capture keeps the first bytes of a stream.
type capture struct {
	bytes     []byte
	truncated bool
}

func newProcesses() *processes { return &processes{byPID: map[int]*process{}} }

// exec starts a program and answers with its pid.
func (p *processes) exec(arguments json.RawMessage) (any, error) {
	var in struct {
		Path    string   `json:"path"`
		Arg     []string `json:"arg"`
		Env     []string `json:"env"`
		Input   string   `json:"input-data"`
		Capture any      `json:"capture-output"` // a bool, or since 8.1 the name of a mode
	}
	if err := json.Unmarshal(arguments, &in); err != nil {
		return nil, err
	}
	if in.Path == "" {
		return nil, errors.New("Parameter 'path' is missing")
	}
	input, err := base64.StdEncoding.DecodeString(in.Input)
	if err != nil {
		return nil, errors.New("input-data is no base64")
	}
	captured := in.Capture != nil && in.Capture != false && in.Capture != "none"
	pid, err := p.start(in.Path, append([]string{in.Path}, in.Arg...), in.Env, input, captured)
	if err != nil {
		return nil, errors.New("Failed to execute child process: " + err.Error())
	}
	return struct {
		PID int `json:"pid"`
	}{pid}, nil
}

func (p *processes) start(path string, argv, env []string, input []byte, captured bool) (int, error) {
	in, out, errs, err := openStreams()
	if err != nil {
		return 0, err
	}
	if len(env) == 0 {
		env = []string{"PATH=/bin", "HOME=/"}
	}
	p.lock.Lock() // until the child is known, so that its end finds it
	defer p.lock.Unlock()
	pid, err := syscall.ForkExec(lookPath(path), argv, &syscall.ProcAttr{
		Env: env, Dir: "/", Files: []uintptr{in.child.Fd(), out.child.Fd(), errs.child.Fd()},
	})
	closeAll(in.child, out.child, errs.child)
	if err != nil {
		closeAll(in.ours, out.ours, errs.ours)
		return 0, err
	}
	one := &process{}
	one.streams.Go(func() { one.out.take(out.ours, captured) })
	one.streams.Go(func() { one.err.take(errs.ours, captured) })
	go func() { one.streams.Wait(); one.closed.Store(true) }()
	go feed(in.ours, input)
	p.remember(pid, one)
	if !p.reaping {
		p.reaping = true
		go p.reap()
	}
	return pid, nil
}

// remember forgets the oldest that has ended when there are too many.
func (p *processes) remember(pid int, one *process) {
	for i := 0; len(p.order) >= maxProcesses && i < len(p.order); i++ {
		if old := p.order[i]; p.byPID[old].ended {
			delete(p.byPID, old)
			p.order = append(p.order[:i], p.order[i+1:]...)
			break
		}
	}
	p.byPID[pid] = one
	p.order = append(p.order, pid)
}

// reap waits for children until there are none.
func (p *processes) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		p.lock.Lock()
		if err != nil && !p.hasChildren() {
			p.reaping = false
			p.lock.Unlock()
			return
		}
		if one, ok := p.byPID[pid]; ok && err == nil {
			one.ended, one.status = true, status
		}
		p.lock.Unlock()
	}
}

// hasChildren looks again under the lock: one may have been started after the
// wait found none.
func (p *processes) hasChildren() bool {
	for _, one := range p.byPID {
		if !one.ended {
			return true
		}
	}
	return false
}

// stream is a pipe's end for the child and the one for us.
type stream struct{ child, ours *os.File }

func openStreams() (in, out, errs stream, err error) {
	if in.child, in.ours, err = os.Pipe(); err != nil {
		return in, out, errs, err
	}
	if out.ours, out.child, err = os.Pipe(); err != nil {
		closeAll(in.child, in.ours)
		return in, out, errs, err
	}
	if errs.ours, errs.child, err = os.Pipe(); err != nil {
		closeAll(in.child, in.ours, out.child, out.ours)
	}
	return in, out, errs, err
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

func feed(to *os.File, input []byte) {
	_, _ = to.Write(input) // a child need not read what it is given
	_ = to.Close()
}

func (c *capture) take(from *os.File, keep bool) {
	defer closeAll(from)
	if keep {
		// A stream that breaks is a stream that ends.
		c.bytes, _ = io.ReadAll(io.LimitReader(from, maxOutput))
	}
	dropped, _ := io.Copy(io.Discard, from)
	c.truncated = keep && dropped > 0
}

// lookPath finds a bare name in /bin.
func lookPath(path string) string {
	if strings.Contains(path, "/") {
		return path
	}
	return filepath.Join("/bin", path)
}

// execStatus is the answer of guest-exec-status.
type execStatus struct {
	Exited       bool   `json:"exited"`
	ExitCode     *int   `json:"exitcode,omitempty"`
	Signal       *int   `json:"signal,omitempty"`
	OutData      string `json:"out-data,omitempty"`
	ErrData      string `json:"err-data,omitempty"`
	OutTruncated bool   `json:"out-truncated,omitempty"`
	ErrTruncated bool   `json:"err-truncated,omitempty"`
}

// status tells of a child; its end is told once, and forgotten then.
func (p *processes) status(arguments json.RawMessage) (any, error) {
	var in struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(arguments, &in); err != nil {
		return nil, err
	}
	p.lock.Lock()
	one, ok := p.byPID[in.PID]
	ended := ok && one.ended && one.closed.Load() // as in qemu-ga, an end includes that of the output
	if ended {
		p.forget(in.PID)
	}
	p.lock.Unlock()
	if !ok {
		return nil, errors.New("PID " + strconv.Itoa(in.PID) + " does not exist")
	}
	if !ended {
		return execStatus{}, nil
	}
	return one.final(), nil
}

func (p *processes) forget(pid int) {
	delete(p.byPID, pid)
	for i, one := range p.order {
		if one == pid {
			p.order = append(p.order[:i], p.order[i+1:]...)
			return
		}
	}
}

func (one *process) final() execStatus {
	out := execStatus{
		Exited:       true,
		OutData:      base64.StdEncoding.EncodeToString(one.out.bytes),
		ErrData:      base64.StdEncoding.EncodeToString(one.err.bytes),
		OutTruncated: one.out.truncated,
		ErrTruncated: one.err.truncated,
	}
	if one.status.Signaled() {
		signal := int(one.status.Signal())
		out.Signal = &signal
		return out
	}
	code := one.status.ExitStatus()
	out.ExitCode = &code
	return out
}
