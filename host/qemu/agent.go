package qemu

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// Bounds on what a guest may make us read and keep (P15).
const (
	maxAnswer  = 64 << 10              // one answer
	maxOutput  = 1 << 20               // each of stdout and stderr of a command
	maxExecRaw = 3 << 20               // an answer that carries both, in base64
	maxNoise   = 4 << 20               // what is skipped in search of one answer
	execPause  = 20 * time.Millisecond // between questions whether a command has ended, at first
	execPauses = time.Second           // and at most
)

// Agent is the host.Agent of every guest that speaks the protocol of QEMU's guest agent.
type Agent struct{}

var _ host.Agent = Agent{}

// Open connects; see host.Agent. While the guest's agent has not opened its
// port, what we write stays in the socket and is answered when it does.
func (Agent) Open(ctx context.Context, f host.Paths) (host.AgentConn, error) {
	conn, err := dial(ctx, f.Agent, f.VMM)
	if err != nil {
		return nil, err
	}
	return newAgentConn(conn), nil
}

// agentConn has no goroutine: a guest that floods while nobody asks fills its
// own socket and waits.
type agentConn struct {
	conn net.Conn
	turn chan struct{} // one exchange at a time; holds one token
	in   lines
	last int64 // id of the last sync that was sent
	dry  bool  // all that was asked is answered: the next line answers the next question
	tail bool  // the last thing written was a sync
}

func newAgentConn(conn net.Conn) *agentConn {
	a := &agentConn{conn: conn, turn: make(chan struct{}, 1), last: rand.Int64N(1 << 40), dry: true}
	a.in = lines{from: conn, limit: maxAnswer}
	a.turn <- struct{}{}
	return a
}

// Close ends the connection and every exchange on it.
func (a *agentConn) Close() { _ = a.conn.Close() }

// Ping is one round of synchronisation, so that no late answer can pass for it.
func (a *agentConn) Ping(ctx context.Context) error {
	return a.exchange(ctx, "ping the guest agent", func() error { return a.sync() })
}

// Shutdown asks for a power-off and doesn't wait for an answer, for none is promised.
func (a *agentConn) Shutdown(ctx context.Context) error {
	return a.exchange(ctx, "shut down by the guest agent", func() error {
		if err := a.sync(); err != nil {
			return err
		}
		a.dry = false // whatever is said to it is not for the next question
		return a.write(request{Execute: "guest-shutdown", Arguments: map[string]string{"mode": "powerdown"}})
	})
}

// SetTime sets the guest's clock, to the nanosecond as the agent's protocol has it.
func (a *agentConn) SetTime(ctx context.Context, now func() time.Time) error {
	return a.exchange(ctx, "set the guest's clock", func() error {
		if err := a.sync(); err != nil {
			return err
		}
		args := map[string]int64{"time": now().UnixNano()}
		return a.ask(request{Execute: "guest-set-time", Arguments: args}, maxAnswer, &struct{}{})
	})
}

// exchange has the wire for itself until do returns or ctx ends.
func (a *agentConn) exchange(ctx context.Context, doing string, do func() error) error {
	select {
	case <-a.turn:
	case <-ctx.Done():
		return host.Fail(host.Transient, doing, ctx.Err())
	}
	defer func() { a.turn <- struct{}{} }()
	if err := ctx.Err(); err != nil {
		return host.Fail(host.Transient, doing, err)
	}
	if err := a.conn.SetDeadline(time.Time{}); err != nil {
		return host.Fail(host.Gone, doing, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = a.conn.SetDeadline(time.Unix(1, 0)) })
	err := do()
	if !stop() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	return agentFailure(doing, err)
}

func agentFailure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoise), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return host.Fail(host.Transient, doing, err)
	case errors.Is(err, errRefused):
		return host.Fail(host.Broken, doing, err)
	}
	return host.Fail(host.Gone, doing, err)
}

var (
	errNoise   = errors.New("the guest sends something else than an answer")
	errRefused = errors.New("the guest agent refused")
)

// sync brings both sides to the same place: whatever comes before the answer to
// a fresh id is skipped. The byte 0xFF resets the agent's parser, and ours.
func (a *agentConn) sync() error {
	// A sync that still lies in the socket is as good as a new one; a guest whose
	// agent never starts must not be sent one more with each probe.
	if a.dry || !a.tail || !a.unread() {
		a.last++
		a.dry = false
		line, err := json.Marshal(request{Execute: "guest-sync-delimited", Arguments: map[string]int64{"id": a.last}})
		if err != nil {
			return fmt.Errorf("encode: %v", err)
		}
		if err := a.send(append([]byte{0xff}, line...)); err != nil {
			return err
		}
		a.tail = true
	}
	a.in.limit = maxAnswer
	for skipped := 0; skipped < maxNoise; {
		line, err := a.in.next()
		if errors.Is(err, errLineTooLong) {
			skipped += a.in.lost
			continue
		}
		if err != nil {
			return err
		}
		skipped += len(line) + 1
		line = line[bytes.LastIndexByte(line, 0xff)+1:]
		var answer struct {
			Return *int64 `json:"return"`
		}
		if json.Unmarshal(line, &answer) == nil && answer.Return != nil && *answer.Return == a.last {
			a.dry = true
			return nil
		}
	}
	return fmt.Errorf("%w: %d bytes without one", errNoise, maxNoise)
}

// unread tells whether the other side of the socket has not taken all that we
// wrote: QEMU takes nothing while the agent's port is closed.
func (a *agentConn) unread() bool {
	sc, ok := a.conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	pending := 0
	if err := raw.Control(func(fd uintptr) { pending, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return false
	}
	return pending > 0
}

func (a *agentConn) write(r request) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode: %v", err)
	}
	return a.send(line)
}

func (a *agentConn) send(line []byte) error {
	a.tail = false
	_, err := a.conn.Write(append(line, '\n'))
	return err
}

// ask sends a command in sync and decodes its answer, of at most limit bytes.
func (a *agentConn) ask(r request, limit int, to any) error {
	if !a.dry {
		if err := a.sync(); err != nil {
			return err
		}
	}
	a.dry = false // until its answer came, whole
	if err := a.write(r); err != nil {
		return err
	}
	a.in.limit = limit
	line, err := a.in.next()
	if errors.Is(err, errLineTooLong) {
		return fmt.Errorf("%w: over %d bytes to %s", errNoise, limit, r.Execute)
	}
	if err != nil {
		return err
	}
	var answer struct {
		Return json.RawMessage `json:"return"`
		Error  *struct {
			Class string `json:"class"`
			Desc  string `json:"desc"`
		} `json:"error"`
	}
	if err := json.Unmarshal(line, &answer); err != nil || answer.Return == nil && answer.Error == nil {
		return fmt.Errorf("%w: %q to %s", errNoise, clip(string(line)), r.Execute)
	}
	a.dry = true
	if e := answer.Error; e != nil && r.Execute == "guest-exec" {
		return fmt.Errorf("%w to run it: %q", errRefused, clip(e.Desc))
	} else if e != nil {
		return fmt.Errorf("%w %s: %q: %q", errRefused, r.Execute, clip(e.Class), clip(e.Desc))
	}
	if err := json.Unmarshal(answer.Return, to); err != nil {
		return fmt.Errorf("%w: %q to %s", errNoise, clip(string(answer.Return)), r.Execute)
	}
	return nil
}

type execStatus struct {
	Exited       bool   `json:"exited"`
	Code         int    `json:"exitcode"`
	Signal       int    `json:"signal"`
	Out          string `json:"out-data"`
	Err          string `json:"err-data"`
	OutTruncated bool   `json:"out-truncated"`
	ErrTruncated bool   `json:"err-truncated"`
}

// Exec runs a command; see host.AgentConn. The protocol can only be asked
// whether the command has ended, so it is, ever more rarely, until ctx ends.
// Other exchanges may pass in between. A command ended by a signal has code
// 128 + signal.
func (a *agentConn) Exec(ctx context.Context, argv []string) (host.ExecResult, error) {
	const doing = "run a command by the guest agent"
	if len(argv) == 0 {
		return host.ExecResult{}, host.Fail(host.Broken, doing, errors.New("no command was given"))
	}
	var started struct {
		PID int64 `json:"pid"`
	}
	err := a.exchange(ctx, doing, func() error {
		if err := a.sync(); err != nil {
			return err
		}
		args := map[string]any{"path": argv[0], "arg": argv[1:], "capture-output": true}
		return a.ask(request{Execute: "guest-exec", Arguments: args}, maxAnswer, &started)
	})
	if err != nil {
		return host.ExecResult{}, err
	}
	timer := time.NewTimer(execPause)
	defer timer.Stop()
	for pause := execPause; ; pause = min(2*pause, execPauses) {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return host.ExecResult{}, host.Fail(host.Transient, doing, ctx.Err())
		}
		var s execStatus
		err := a.exchange(ctx, doing, func() error {
			args := map[string]int64{"pid": started.PID}
			return a.ask(request{Execute: "guest-exec-status", Arguments: args}, maxExecRaw, &s)
		})
		if err != nil {
			return host.ExecResult{}, err
		}
		if s.Exited {
			return s.result(doing)
		}
		timer.Reset(pause)
	}
}

func (s *execStatus) result(doing string) (host.ExecResult, error) {
	stdout, errOut := base64.StdEncoding.DecodeString(s.Out)
	stderr, errErr := base64.StdEncoding.DecodeString(s.Err)
	if err := errors.Join(errOut, errErr); err != nil {
		return host.ExecResult{}, host.Fail(host.Transient, doing, fmt.Errorf("%w: %v", errNoise, err))
	}
	r := host.ExecResult{Code: s.Code, Stdout: stdout, Stderr: stderr, Truncated: s.OutTruncated || s.ErrTruncated}
	if s.Signal != 0 {
		r.Code = 128 + s.Signal
	}
	for _, out := range []*[]byte{&r.Stdout, &r.Stderr} {
		if len(*out) > maxOutput {
			*out, r.Truncated = (*out)[:maxOutput], true
		}
	}
	return r, nil
}
