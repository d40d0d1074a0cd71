package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const greeting = `{"QMP": {"version": {}, "capabilities": ["oob"]}}` + "\n"

// wire is both ends of a real unix socket: at path a listener, of which far is the first connection.
func wire(t *testing.T) (path string, far func() net.Conn) {
	t.Helper()
	path = shortDir(t) + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return path, func() net.Conn {
		conn, err := l.Accept()
		if err != nil { // the test is over
			return nil
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

// fakeQEMU greets, answers the capabilities, and gives the wire to play.
func fakeQEMU(t *testing.T, notice func(host.Notice), play func(in *bufio.Scanner, out io.WriteCloser)) (host.Session, error) {
	t.Helper()
	path, far := wire(t)
	go func() {
		conn := far()
		_, _ = io.WriteString(conn, greeting)
		in := bufio.NewScanner(conn)
		if id := nextID(in, "qmp_capabilities"); id != 0 {
			fmt.Fprintf(conn, `{"return": {}, "id": %d}`+"\n", id)
		}
		play(in, conn)
	}()
	return New(Config{}).Attach(deadline(t), vm.Spec{}, host.Paths{QMP: path}, notice)
}

// nextID reads one command and returns its id, or 0 if it is another command or the wire has ended.
func nextID(in *bufio.Scanner, want string) uint64 {
	var r struct {
		Execute string
		ID      uint64
	}
	if !in.Scan() || json.Unmarshal(in.Bytes(), &r) != nil || r.Execute != want {
		return 0
	}
	return r.ID
}

func attachFake(t *testing.T, play func(in *bufio.Scanner, out io.WriteCloser)) (host.Session, chan host.Notice) {
	t.Helper()
	notices := make(chan host.Notice, 1024)
	s, err := fakeQEMU(t, func(n host.Notice) { notices <- n }, play)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, notices
}

// TestAnswersInAnyOrder: several commands in flight, answered in reverse, with garbage ids between.
func TestAnswersInAnyOrder(t *testing.T) {
	const n = 8
	s, _ := attachFake(t, func(in *bufio.Scanner, out io.WriteCloser) {
		ids := make([]uint64, n)
		for i := range ids {
			ids[i] = nextID(in, "query-status")
		}
		for i := n - 1; i >= 0; i-- {
			fmt.Fprintf(out, `{"return": {"status": "shutdown"}, "id": 99999}`+"\n"+`{"return": {"status": "paused"}, "id": %d}`+"\n", ids[i])
		}
	})
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			if state, err := s.State(deadline(t)); err != nil || state != host.GuestPaused {
				t.Errorf("state %q, %v", state, err)
			}
		})
	}
	all.Wait()
}

// TestLateAnswerIsDropped: the answer to a call that was given up doesn't reach the next one.
func TestLateAnswerIsDropped(t *testing.T) {
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	s, _ := attachFake(t, func(in *bufio.Scanner, out io.WriteCloser) {
		late := nextID(in, "query-status")
		giveUp()
		next := nextID(in, "query-status")
		fmt.Fprintf(out, `{"return": {"status": "shutdown"}, "id": %d}`+"\n", late)
		fmt.Fprintf(out, `{"return": {"status": "running"}, "id": %d}`+"\n", next)
	})
	if _, err := s.State(ctx); !errors.Is(err, context.Canceled) || host.KindOf(err) != host.Transient {
		t.Errorf("unanswered: %v", err)
	}
	if state, err := s.State(deadline(t)); err != nil || state != host.GuestRuns {
		t.Errorf("state %q, %v", state, err)
	}
}

// TestSlowReceiverNeverStallsTheReader: a receiver that blocks, a guest that resets 10,000 times
// and then powers off, and yet commands are answered; afterwards the power-off is heard last.
func TestSlowReceiverNeverStallsTheReader(t *testing.T) {
	hold, heard := make(chan struct{}), make(chan host.Notice, 1024)
	s, err := fakeQEMU(t, func(n host.Notice) { <-hold; heard <- n }, func(in *bufio.Scanner, out io.WriteCloser) {
		id := nextID(in, "query-status")
		for range 10000 {
			_, _ = io.WriteString(out, `{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}`+"\n")
		}
		_, _ = io.WriteString(out, `{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`+"\n")
		fmt.Fprintf(out, `{"return": {"status": "shutdown"}, "id": %d}`+"\n", id)
		nextID(in, "never")
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if state, err := s.State(deadline(t)); err != nil || state != host.GuestOff {
		t.Fatalf("state %q, %v", state, err)
	}
	close(hold)
	count := 0
	for n := range heard {
		if count++; n.Kind == host.NoticePowerOff {
			break
		}
	}
	const kinds, inHand = 5, 1 // a full queue still takes the first of another kind
	if count > maxWaiting+kinds+inHand {
		t.Errorf("%d notices were kept", count)
	}
}

// TestWireThatGoesBadEndsAsLost plays what no QEMU sends.
func TestWireThatGoesBadEndsAsLost(t *testing.T) {
	for name, bad := range map[string]string{
		"endless line": strings.Repeat("x", maxLine+2),
		"long line":    strings.Repeat(" ", maxLine+1) + "\n",
		"garbage":      "hello\n",
		"half a line":  `{"event": "SHUT`,
		"wrong types":  `{"id": "seven", "return": 1}` + "\n",
		"deep nesting": strings.Repeat("[", 20000) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, notices := attachFake(t, func(in *bufio.Scanner, out io.WriteCloser) {
				nextID(in, "query-status")
				_, _ = io.WriteString(out, bad)
				_ = out.Close()
			})
			if _, err := s.State(deadline(t)); host.KindOf(err) != host.Gone {
				t.Errorf("state: %v, want Gone", err)
			}
			select {
			case n := <-notices:
				if n.Kind != host.NoticeLost || len(n.Detail) > maxDetail+len("…") {
					t.Errorf("heard %+v, want a bounded lost", n)
				}
			case <-time.After(patience):
				t.Error("the loss was not told")
			}
		})
	}
}

func TestAttachEndsWithItsContext(t *testing.T) {
	path, far := wire(t)
	go far()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := New(Config{}).Attach(ctx, vm.Spec{}, host.Paths{QMP: path}, func(n host.Notice) { t.Errorf("heard %v before the session stood", n) })
	if host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("attach to a silent VMM: %v, want Transient", err)
	}
	_, err = New(Config{}).Attach(deadline(t), vm.Spec{}, host.Paths{QMP: path + "x"}, nil)
	if host.KindOf(err) != host.Gone {
		t.Errorf("attach to nothing: %v, want Gone", err)
	}
}

func TestEventsBecomeNotices(t *testing.T) {
	for event, want := range map[string]host.NoticeKind{
		`{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"}}`:      host.NoticePowerOff,
		`{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-reset"}}`:         host.NoticeResetEnd,
		`{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-panic"}}`:         host.NoticePanic,
		`{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-qmp-quit"}}`:      "",
		`{"event":"SHUTDOWN","data":{"guest":false,"reason":"host-signal"}}`:        "",
		`{"event":"RESET","data":{"guest":true,"reason":"guest-reset"}}`:            host.NoticeReset,
		`{"event":"RESET","data":{"guest":false,"reason":"host-qmp-system-reset"}}`: "",
		`{"event":"GUEST_PANICKED","data":{"action":"pause"}}`:                      host.NoticePanic,
		`{"event":"BLOCK_IO_ERROR","data":{"device":"","action":"stop"}}`:           host.NoticeIOError,
		`{"event":"BLOCK_IO_ERROR","data":{"action":"stop","nospace":true}}`:        host.NoticeNoSpace,
		`{"event":"BLOCK_IO_ERROR","data":{"action":"ignore","nospace":true}}`:      "",
		`{"event":"BLOCK_IO_ERROR","data":{"device":"","action":"report"}}`:         "",
		`{"event":"WATCHDOG","data":{"action":"pause"}}`:                            host.NoticeWatchdog,
		`{"event":"WATCHDOG","data":{"action":"reset"}}`:                            "",
		`{"event":"GUEST_CRASHLOADED","data":{"action":"run"}}`:                     host.NoticeCrashed,
		`{"event":"STOP"}`:                  "",
		`{"event":"SHUTDOWN","data":[1,2]}`: "",
	} {
		m, err := decode([]byte(event))
		if err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		if n, ok := m.notice(); n.Kind != want || ok != (want != "") {
			t.Errorf("%s became %q, want %q", event, n.Kind, want)
		}
	}
}

// TestIdleSessionIsSmall measures what a session costs when nothing happens.
func TestIdleSessionIsSmall(t *testing.T) {
	const n = 200
	sessions := make([]host.Session, 0, n)
	before := held()
	for range n {
		s, err := fakeQEMU(t, func(host.Notice) {}, func(*bufio.Scanner, io.WriteCloser) {})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	each := (held() - before) / n
	t.Logf("%d KiB for each idle session, its far end in this test included", each>>10)
	for _, s := range sessions {
		s.Close()
	}
	if each > 24<<10 {
		t.Errorf("an idle session holds %d bytes", each)
	}
}

func held() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// FuzzLinesAndDecode: no stream makes the reader panic, hold more than its limit, or lose a good line.
func FuzzLinesAndDecode(f *testing.F) {
	f.Add([]byte(greeting), 7)
	f.Add([]byte(`{"event":"RESET","data":{"guest":true}}`+"\n\n\xff{\n"), 1)
	f.Add(bytes.Repeat([]byte("x"), 10000), 4096)
	f.Fuzz(func(t *testing.T, stream []byte, chunk int) {
		const limit = 3000
		in := lines{from: chunks{bytes.NewReader(stream), max(1, chunk%5000)}, limit: limit}
		var got [][]byte
		for {
			line, err := in.next()
			if errors.Is(err, errLineTooLong) {
				return
			}
			if err != nil {
				break
			}
			if len(line) > limit || cap(in.spare) > 4*limit {
				t.Fatalf("a line of %d bytes, a buffer of %d", len(line), cap(in.spare))
			}
			got = append(got, bytes.Clone(line))
			if m, err := decode(line); err == nil {
				m.notice()
			}
		}
		want := bytes.Split(stream, []byte("\n"))
		if len(got) != len(want)-1 {
			t.Fatalf("%d lines of %d", len(got), len(want)-1)
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("line %d is %q, want %q", i, got[i], want[i])
			}
		}
	})
}

// chunks reads at most n bytes at once.
type chunks struct {
	from io.Reader
	n    int
}

func (c chunks) Read(b []byte) (int, error) { return c.from.Read(b[:min(len(b), c.n)]) }
