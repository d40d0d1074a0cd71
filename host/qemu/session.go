package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/unlinked"
	"github.com/blixard/blixard/vm"
)

// maxWaiting bounds the notices that wait for a slow receiver. More can only be
// a guest that resets in a loop; the newest of a kind stands for all of them.
const maxWaiting = 16

// writeBound is how long a command may take to leave: a VMM that reads nothing
// for this long is not going to.
const writeBound = 5 * time.Second

// errClosed is the end of a session that Close brought.
var errClosed = errors.New("the session was closed")

// session is a control session: one goroutine reads, and another exists while
// notices wait.
type session struct {
	conn   net.Conn
	notice func(host.Notice)
	ready  chan struct{} // closed by the greeting
	ended  chan struct{} // closed with why set

	writing sync.Mutex // one line at a time

	firmware atomic.Bool // it boots by a PC's firmware
	greeted  bool        // the reader's
	resetAt  time.Time   // of the last reset that wasn't an echo; the reader's

	mu       sync.Mutex
	next     uint64
	answers  map[uint64]chan message
	why      error
	queue    []host.Notice
	telling  bool          // a goroutine empties the queue
	attached bool          // Attach has returned the session: from now on its loss is told
	stops    int           // STOP events whose reason nobody has asked for yet
	moved    chan struct{} // closed at the next of steps; nil: nobody waits for it
}

// Attach opens the control session; see host.Driver. The socket has been
// listening since before QEMU's start, so the greeting comes when QEMU is up.
func (d *Driver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	conn, err := dial(ctx, f.QMP, f.VMM)
	if err != nil {
		return nil, err
	}
	s, err := join(ctx, conn, func(n host.Notice) {
		if n.Kind == host.NoticeNoSpace || n.Kind == host.NoticeIOError {
			node, more, _ := strings.Cut(n.Detail, " ")
			n.Detail = strings.TrimSpace(nameOfNode(spec, node) + " " + more)
		}
		notice(n)
	})
	if err != nil {
		return nil, err
	}
	s.firmware.Store(spec.Boot.Disk != "")
	return s, nil
}

// nameOfNode is what the spec calls the disk that QEMU knows by that node.
func nameOfNode(spec vm.Spec, node string) string {
	for i, d := range spec.Disks {
		if node == diskNode(i) {
			return "disk " + d.Name
		}
	}
	return "disk " + node
}

// Join opens a control session on a connection to any QEMU's QMP socket, and
// returns when that QEMU has answered. It owns the connection from now on.
func Join(ctx context.Context, conn net.Conn, notice func(host.Notice)) (host.Session, error) {
	s, err := join(ctx, conn, notice)
	if err != nil {
		return nil, err
	}
	s.firmware.Store(s.machine(ctx))
	return s, nil
}

func join(ctx context.Context, conn net.Conn, notice func(host.Notice)) (*session, error) {
	s := newSession(conn, notice) //nolint:contextcheck // the session outlives the call that opens it
	if err := s.negotiate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why != nil {
		return nil, host.Fail(host.Gone, "attach to the VMM", s.why)
	}
	s.attached = true
	return s, nil
}

// dial connects to a socket of the VMM; see unlinked.Reach for the kinds.
func dial(ctx context.Context, path string, by vm.Process) (net.Conn, error) {
	return unlinked.Reach(ctx, unlinked.Socket{Path: path, By: by, Doing: "connect to the VMM"})
}

func newSession(conn net.Conn, notice func(host.Notice)) *session {
	s := &session{conn: conn, notice: notice, ready: make(chan struct{}), ended: make(chan struct{})}
	go s.read()
	return s
}

func (s *session) negotiate(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.ended:
		return host.Fail(host.Gone, "wait for QEMU's greeting", s.reason())
	case <-ctx.Done():
		return host.Fail(host.Transient, "wait for QEMU's greeting", ctx.Err())
	}
	return s.do(ctx, "qmp_capabilities")
}

// read is the session's own goroutine, until the wire ends. It waits with a frame
// of its own: one that holds a message keeps the stack of each VM's reader at
// twice the size.
func (s *session) read() {
	in := lines{from: s.conn, limit: maxLine}
	for {
		line, err := in.next()
		if err == nil {
			err = s.take(line)
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// take is one line; an error ends the wire.
func (s *session) take(line []byte) error {
	m, err := decode(line)
	if err != nil {
		return fmt.Errorf("decode %q: %v", clip(string(line)), err)
	}
	switch {
	case m.Greeting != nil && !s.greeted:
		s.greeted = true
		close(s.ready)
	case m.Event == "STOP":
		s.stopped()
	case m.Event == "RESET":
		s.wasReset(m)
	case steps[m.Event]:
		s.step()
	case m.Event != "":
		if n, ok := m.notice(); ok {
			s.tell(n)
		}
	case m.ID != 0:
		s.answered(m)
	}
	return nil
}

// answered hands an answer to its caller; one that nobody waits for came late.
func (s *session) answered(m message) {
	s.mu.Lock()
	waiting := s.answers[m.ID]
	delete(s.answers, m.ID)
	s.mu.Unlock()
	if waiting != nil {
		waiting <- m // has room for its one answer
	}
}

// tell queues a notice; the reader never waits for who hears it.
func (s *session) tell(n host.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) >= maxWaiting {
		for i := range s.queue {
			if s.queue[i].Kind == n.Kind {
				s.queue = append(s.queue[:i], s.queue[i+1:]...)
				break
			}
		}
	}
	s.queue = append(s.queue, n)
	if !s.telling {
		s.telling = true
		go s.tellAll()
	}
}

func (s *session) tellAll() {
	for {
		s.mu.Lock()
		if len(s.queue) == 0 || errors.Is(s.why, errClosed) {
			s.queue, s.telling = nil, false
			s.mu.Unlock()
			return
		}
		n := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		s.notice(n)
	}
}

// end closes the wire once. Every caller that waits hears why; NoticeLost is
// told unless we closed it ourselves, or nobody was attached yet.
func (s *session) end(why error) {
	s.mu.Lock()
	if s.why != nil {
		s.mu.Unlock()
		return
	}
	s.why = why
	attached := s.attached
	s.mu.Unlock()
	_ = s.conn.Close() // nothing was promised to be written
	close(s.ended)
	if attached && !errors.Is(why, errClosed) {
		s.tell(host.Notice{Kind: host.NoticeLost, Detail: clip(why.Error()), At: time.Now()})
	}
}

func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why
}

// Close lets go; see host.Session. At most the notice that is being told still arrives.
func (s *session) Close() { s.end(errClosed) }

// call sends a command and waits for its answer, the session's end, or ctx.
func (s *session) call(ctx context.Context, command string, arguments any) (json.RawMessage, error) {
	return s.callWith(ctx, command, arguments, noFile)
}

// noFile stands where no descriptor goes beside a command.
const noFile = -1

// callWith is call with a descriptor beside the command.
func (s *session) callWith(ctx context.Context, command string, arguments any, fd int) (json.RawMessage, error) {
	id, answer := s.expect()
	defer s.forget(id)
	if err := s.send(ctx, request{Execute: command, Arguments: arguments, ID: id}, fd); err != nil {
		if ctx.Err() != nil {
			return nil, host.Fail(host.Transient, command, err)
		}
		return nil, host.Fail(host.Gone, command, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return nil, host.Fail(host.Broken, command, fmt.Errorf("%s: %s", clip(m.Error.Class), clip(m.Error.Desc)))
		}
		return m.Return, nil
	case <-s.ended:
		return nil, host.Fail(host.Gone, command, s.reason())
	case <-ctx.Done():
		return nil, host.Fail(host.Transient, command, ctx.Err())
	}
}

func (s *session) expect() (uint64, chan message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	if s.answers == nil {
		s.answers = make(map[uint64]chan message)
	}
	answer := make(chan message, 1)
	s.answers[s.next] = answer
	return s.next, answer
}

func (s *session) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, id)
	if len(s.answers) == 0 {
		s.answers = nil // a session at rest holds no map
	}
}

// send writes one line. Half a line would spoil the wire, so that a write that
// doesn't come through ends the session.
func (s *session) send(ctx context.Context, r request, fd int) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode: %v", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	_ = s.conn.SetWriteDeadline(time.Now().Add(writeBound)) // fails only on a closed wire, and then so does the write
	b = append(b, '\n')
	if fd == noFile {
		_, err = s.conn.Write(b)
	} else {
		err = handOver(s.conn, b, fd)
	}
	if err != nil {
		s.end(err)
	}
	return err
}

// State asks QEMU for its run state.
func (s *session) State(ctx context.Context) (host.GuestState, error) {
	status, err := s.status(ctx)
	if err != nil {
		return "", err
	}
	state := guestState(status)
	if state == host.GuestIOError && s.full(ctx) {
		state = host.GuestNoSpace
	}
	return state, nil
}

// status is the run state in QEMU's own word.
func (s *session) status(ctx context.Context) (string, error) {
	b, err := s.call(ctx, "query-status", nil)
	if err != nil {
		return "", err
	}
	var answer struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.Status == "" {
		return "", host.Fail(host.Transient, "query-status", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	return answer.Status, nil
}

// PowerDown presses the ACPI button.
func (s *session) PowerDown(ctx context.Context) error { return s.do(ctx, "system_powerdown") }

// Pause stops the vCPUs.
func (s *session) Pause(ctx context.Context) error { return s.do(ctx, "stop") }

// Resume continues the vCPUs. A guest that is off or has panicked is refused as
// Broken. A saving that is under way is ended before, for its end would halt the
// guest again.
func (s *session) Resume(ctx context.Context) error {
	if err := s.giveUp(ctx); err != nil {
		return err
	}
	return s.do(ctx, "cont")
}

// Quit ends QEMU. That the session ends before its answer came is success.
func (s *session) Quit(ctx context.Context) error {
	err := s.do(ctx, "quit")
	if host.KindOf(err) == host.Gone {
		return nil
	}
	return err
}

func (s *session) do(ctx context.Context, command string) error {
	_, err := s.call(ctx, command, nil)
	return err
}
