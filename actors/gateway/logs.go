package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const (
	logChunk  = 32 << 10  // bytes in one message
	logBuffer = 256 << 10 // bytes that wait for a slow client; then its follow starts anew where it stands, and where the log was cut meanwhile, a part is missing or comes twice
	logWhole  = 32 << 20  // at most so much is sent of what a console kept
)

// logSender sends a chunk; nil sends the headers alone.
type logSender func(*blixardv1.LogsChunk) error

// logs sends the console of one incarnation, and with follow those after it.
func (d *Door) logs(ctx context.Context, m *blixardv1.LogsRequest, send logSender) error {
	rec, err := d.find(m.GetName())
	if err != nil {
		return err
	}
	n, err := incarnationOf(rec, m)
	if err != nil {
		return err
	}
	if !m.GetFollow() {
		return d.sendTail(rec, n, m, send)
	}
	if err := send(nil); err != nil { // hello, after its place is taken
		return err
	}
	offset := d.beforeTail(rec, n, m.GetTailLines())
	for {
		if n > 0 {
			if err := d.follow(ctx, rec, n, offset, send); err != nil {
				return err
			}
		}
		offset = 0
		if rec, err = d.nextIncarnation(ctx, rec, n); err != nil || rec.ID == "" {
			return err
		}
		n++
	}
}

func incarnationOf(rec vm.Record, m *blixardv1.LogsRequest) (vm.Incarnation, error) {
	last, n := rec.State.Incarnation, vm.Incarnation(m.GetIncarnation())
	switch {
	case m.GetPrevious() && n > 0:
		return 0, invalid("it asks for the previous incarnation and for a numbered one", "one of both")
	case m.GetTailBytes() < 0 || m.GetTailBytes() > 0 && m.GetFollow():
		return 0, invalid("tailBytes is negative, or together with follow", "one of both")
	case m.GetTailLines() < 0 || m.GetTailLines() > 0 && m.GetTailBytes() > 0:
		return 0, invalid("tailLines is negative, or together with tailBytes", "one of both")
	case n > last, m.GetPrevious() && last < 2:
		return 0, &vm.Refusal{
			Code: vm.NotFound, Why: fmt.Sprintf("%s has no such incarnation, its last is %d", rec.Spec.Name, last),
			Try: fmt.Sprintf("blixard vm logs %s", rec.Spec.Name),
		}
	case m.GetPrevious():
		return last - 1, nil
	case n == 0 && last == 0 && !m.GetFollow():
		return 0, &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("%s was never started", rec.Spec.Name), Try: fmt.Sprintf("blixard vm start %s", rec.Spec.Name),
		}
	case n == 0:
		return last, nil
	}
	return n, nil
}

func (d *Door) pathsOf(rec vm.Record, n vm.Incarnation) host.Paths {
	ref := rec.Ref()
	ref.Incarnation = n
	return d.Paths(ref)
}

func (d *Door) sendTail(rec vm.Record, n vm.Incarnation, m *blixardv1.LogsRequest, send logSender) error {
	limit := m.GetTailBytes()
	if limit == 0 || limit > logWhole {
		limit = logWhole
	}
	b, err := d.Consoles.Tail(d.pathsOf(rec, n), int(limit))
	if err != nil {
		return noLog(rec, n, err)
	}
	return sendChunks(b[beforeLines(b, m.GetTailLines()):], n, 0, send)
}

// beforeTail is where a follow begins that shows the last lines first; a console
// that can't be read yet is shown from its beginning.
func (d *Door) beforeTail(rec vm.Record, n vm.Incarnation, lines int32) int64 {
	if lines == 0 || n == 0 {
		return 0
	}
	b, err := d.Consoles.Tail(d.pathsOf(rec, n), logWhole)
	if err != nil || len(b) == logWhole { // cut, so that offsets mean nothing
		return 0
	}
	return int64(beforeLines(b, lines))
}

// beforeLines is how many bytes stand before the last lines of a console; one
// that has no end yet is a line too. 0 lines: all.
func beforeLines(b []byte, lines int32) int {
	if lines == 0 {
		return 0
	}
	at := len(b)
	if at > 0 && b[at-1] == '\n' {
		at--
	}
	for range lines {
		if at = bytes.LastIndexByte(b[:max(at, 0)], '\n'); at < 0 {
			return 0
		}
	}
	return at + 1
}

func noLog(rec vm.Record, n vm.Incarnation, err error) error {
	if host.KindOf(err) != host.Gone {
		return err
	}
	return &vm.Refusal{
		Code: vm.NotFound, Why: fmt.Sprintf("the console of %s's incarnation %d is not kept", rec.Spec.Name, n),
		Try: fmt.Sprintf("blixard vm logs %s", rec.Spec.Name),
	}
}

func sendChunks(b []byte, n vm.Incarnation, offset int64, send logSender) error {
	for len(b) > 0 {
		part := b[:min(len(b), logChunk)]
		if err := send(&blixardv1.LogsChunk{Data: part, Incarnation: uint64(n), Offset: offset}); err != nil {
			return err
		}
		b, offset = b[len(part):], offset+int64(len(part))
	}
	return nil
}

// backlog takes chunks from the console's goroutine without ever blocking it.
type backlog struct {
	mu       sync.Mutex
	b        []byte
	overflew bool // something did not fit: the follow is to begin anew
	more     chan struct{}
}

func (l *backlog) take(b []byte) {
	l.mu.Lock()
	if !l.overflew {
		fits := min(len(b), logBuffer-len(l.b))
		l.b, l.overflew = append(l.b, b[:fits]...), fits < len(b)
	}
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *backlog) drain() (b []byte, overflew bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, l.b = l.b, nil
	return b, l.overflew
}

// follow sends one incarnation's console until another one has begun, or the VM
// is gone, and everything that was written from offset on is sent.
func (d *Door) follow(ctx context.Context, rec vm.Record, n vm.Incarnation, offset int64, send logSender) error {
	for {
		again, err := d.followOnce(ctx, rec, n, &offset, send)
		if err != nil || !again {
			return err
		}
	}
}

func (d *Door) followOnce(ctx context.Context, rec vm.Record, n vm.Incarnation, offset *int64, send logSender) (again bool, err error) {
	l := &backlog{more: make(chan struct{}, 1)}
	cancel, err := d.Consoles.Follow(d.pathsOf(rec, n), *offset, l.take)
	if host.KindOf(err) == host.Gone {
		return d.untilLog(ctx, rec, n)
	}
	if err != nil {
		return false, err
	}
	defer cancel()
	for {
		changed := d.Node.Changed(rec.Spec.Name)
		now, ok := d.Node.Get(rec.Spec.Name)
		over := !ok || now.ID != rec.ID || now.State.Incarnation > n
		b, overflew := l.drain()
		if err := sendChunks(b, n, *offset, send); err != nil {
			return false, err
		}
		*offset += int64(len(b))
		switch {
		case overflew:
			return true, nil
		case over:
			return false, d.sendRest(rec, n, offset, send)
		}
		select {
		case <-l.more:
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		case <-d.closing:
			return false, stopping
		}
	}
}

// sendRest sends what the file holds beyond offset: the incarnation is over and
// the notice of its last bytes may not have come yet.
func (d *Door) sendRest(rec vm.Record, n vm.Incarnation, offset *int64, send logSender) error {
	b, err := d.Consoles.Tail(d.pathsOf(rec, n), logWhole)
	if err != nil || int64(len(b)) <= *offset || len(b) == logWhole {
		return nil //nolint:nilerr // gone with its VM, all sent, or cut so that offsets mean nothing
	}
	return sendChunks(b[*offset:], n, *offset, send)
}

// untilLog waits for a console that isn't there yet: its incarnation is being prepared.
func (d *Door) untilLog(ctx context.Context, rec vm.Record, n vm.Incarnation) (again bool, err error) {
	changed := d.Node.Changed(rec.Spec.Name)
	now, ok := d.Node.Get(rec.Spec.Name)
	if !ok || now.ID != rec.ID || now.State.Incarnation > n {
		return false, nil
	}
	err = d.until(ctx, changed)
	return err == nil, err
}

// nextIncarnation waits until the VM has an incarnation after n; the zero Record: the VM is gone.
func (d *Door) nextIncarnation(ctx context.Context, rec vm.Record, n vm.Incarnation) (vm.Record, error) {
	for {
		changed := d.Node.Changed(rec.Spec.Name)
		now, ok := d.Node.Get(rec.Spec.Name)
		if !ok || now.ID != rec.ID {
			return vm.Record{}, nil
		}
		if now.State.Incarnation > n {
			return now, nil
		}
		if err := d.until(ctx, changed); err != nil {
			return vm.Record{}, err
		}
	}
}

// Logs streams the serial console.
func (d *Door) Logs(ctx context.Context, r *connect.Request[blixardv1.LogsRequest], s *connect.ServerStream[blixardv1.LogsChunk]) error {
	err := d.logs(ctx, r.Msg, s.Send)
	if r.Msg.GetFollow() && errors.Is(err, context.Canceled) {
		return nil // that is how following ends
	}
	return d.wireError(r.Spec().Procedure, err)
}
