package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const patience = 30 * time.Second // on a busy machine

// ear collects what a follower is told.
type ear struct {
	mu    sync.Mutex
	heard []byte
	more  chan struct{}
}

func newEar() *ear { return &ear{more: make(chan struct{}, 1)} }

func (e *ear) chunk(b []byte) {
	e.mu.Lock()
	e.heard = append(e.heard, b...)
	e.mu.Unlock()
	select {
	case e.more <- struct{}{}:
	default:
	}
}

func (e *ear) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.heard)
}

// until waits for the text to end so.
func (e *ear) until(t *testing.T, end string) string {
	t.Helper()
	late := time.After(patience)
	for {
		if text := e.text(); strings.HasSuffix(text, end) {
			return text
		}
		select {
		case <-e.more:
		case <-late:
			text := e.text()
			t.Fatalf("heard %d bytes, ending %.200q, and never %q", len(text), text[max(0, len(text)-200):], end)
		}
	}
}

func newConsole(t *testing.T, c Config) *Console {
	t.Helper()
	out, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return out
}

func follow(t *testing.T, c *Console, f host.Paths, offset int64) (*ear, func()) {
	t.Helper()
	e := newEar()
	cancel, err := c.Follow(f, offset, e.chunk)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cancel)
	return e, cancel
}

// guest writes as QEMU does: it opened its log once, to append.
func guest(t *testing.T, f host.Paths) *os.File {
	t.Helper()
	file, err := os.OpenFile(f.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

func write(t *testing.T, g *os.File, s string) {
	t.Helper()
	if _, err := g.WriteString(s); err != nil {
		t.Fatal(err)
	}
}

func paths(dir string) host.Paths {
	return host.NewPaths(filepath.Join(dir, "state"), filepath.Join(dir, "run"), vm.Ref{Name: "web-1", Incarnation: 1})
}

func made(t *testing.T) host.Paths {
	t.Helper()
	f := paths(t.TempDir())
	if err := os.MkdirAll(f.Folder, 0o750); err != nil {
		t.Fatal(err)
	}
	return f
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	at, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return at.Size()
}

func TestFollowersHearAllThatComes(t *testing.T) {
	c := newConsole(t, Config{Pause: time.Millisecond})
	f := made(t)
	g := guest(t, f)
	write(t, g, "one\n")
	first, _ := follow(t, c, f, 0)
	first.until(t, "one\n")
	write(t, g, "two\n")
	first.until(t, "two\n")
	second, leave := follow(t, c, f, 4)
	third, _ := follow(t, c, f, -1)
	if got := second.until(t, "two\n"); got != "two\n" {
		t.Errorf("from offset 4: %q", got)
	}
	for i := range 50 {
		write(t, g, fmt.Sprintf("%d\n", i))
		if i%10 == 0 {
			first.until(t, fmt.Sprintf("\n%d\n", i))
		}
	}
	leave()
	leave()
	write(t, g, "last\n")
	all := first.until(t, "last\n")
	if !strings.HasPrefix(all, "one\ntwo\n0\n1\n2\n") || strings.Count(all, "\n") != 53 {
		t.Errorf("heard %q", all)
	}
	if got := third.until(t, "last\n"); strings.Contains(got, "two") {
		t.Errorf("from the end on: %q", got)
	}
}

func TestTheLogMayComeLater(t *testing.T) {
	c := newConsole(t, Config{Pause: time.Millisecond})
	dir := t.TempDir()
	f := paths(dir)
	e, _ := follow(t, c, f, 0)
	for at := dir; at != f.Folder; {
		rest, err := filepath.Rel(at, f.Folder)
		if err != nil {
			t.Fatal(err)
		}
		next, _, _ := strings.Cut(rest, "/")
		at = filepath.Join(at, next)
		if err := os.Mkdir(at, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	g := guest(t, f)
	write(t, g, "here\n")
	e.until(t, "here\n")
	write(t, g, "and there\n")
	e.until(t, "and there\n")
}

func TestAManyTimesLaterLogIsNeverMissed(t *testing.T) {
	c := newConsole(t, Config{Pause: time.Millisecond})
	for i := range 100 {
		f := paths(t.TempDir())
		e, cancel := follow(t, c, f, 0)
		if i%2 == 0 {
			runtime.Gosched()
		}
		if err := os.MkdirAll(f.Folder, 0o750); err != nil {
			t.Fatal(err)
		}
		g := guest(t, f)
		write(t, g, "here\n")
		e.until(t, "here\n")
		cancel()
		_ = g.Close()
	}
}

func TestAFloodStaysBoundedOnDisk(t *testing.T) {
	const flood, keep = 100 << 20, vm.MiB
	c := newConsole(t, Config{Keep: keep, Pause: 10 * time.Millisecond})
	f := made(t)
	g := guest(t, f)
	e, _ := follow(t, c, f, 0)
	line := []byte(strings.Repeat("flood ", 10_922) + "\n")
	var most int64
	for sent := 0; sent < flood; sent += len(line) {
		write(t, g, string(line))
		most = max(most, size(t, f.Log))
	}
	// A word that falls between the last read and the cut is lost: a flood may lose some.
	for deadline := time.Now().Add(patience); !strings.HasSuffix(e.text(), "the end\n"); {
		write(t, g, "the end\n")
		select {
		case <-e.more:
		case <-time.After(time.Until(deadline)):
			t.Fatal("after the flood nothing is told any more")
		}
	}
	for deadline := time.Now().Add(patience); size(t, f.Log) > int64(2*keep) && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	t.Logf("of %d MiB: at most %d KiB in the log, %d KiB at the end, %d KiB kept beside it",
		flood>>20, most>>10, size(t, f.Log)>>10, size(t, kept(f.Log))>>10)
	if got := size(t, f.Log); got > int64(2*keep) {
		t.Errorf("P15: the log has %d bytes", got)
	}
	if got := size(t, kept(f.Log)); got > int64(keep) {
		t.Errorf("P15: beside the log are %d bytes", got)
	}
}

func TestAfterACutTheNextWriteLandsAtTheStart(t *testing.T) {
	c := newConsole(t, Config{Keep: 1000, Pause: time.Millisecond})
	f := made(t)
	g := guest(t, f)
	e, _ := follow(t, c, f, 0)
	write(t, g, strings.Repeat("a", 1200)+"END\n")
	e.until(t, "END\n")
	for deadline := time.Now().Add(patience); size(t, f.Log) != 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("the log was not cut: %d bytes", size(t, f.Log))
		}
	}
	write(t, g, "anew\n")
	all := e.until(t, "END\nanew\n")
	if len(all) != 1200+4+5 {
		t.Errorf("heard %d bytes", len(all))
	}
	if b, err := os.ReadFile(f.Log); err != nil || string(b) != "anew\n" {
		t.Errorf("the log holds %q, %v: a hole before it means that the VMM doesn't append", b, err)
	}
	tail, err := c.Tail(f, 9)
	if err != nil || string(tail) != "END\nanew\n" {
		t.Errorf("tail across the cut: %q, %v", tail, err)
	}
	late, _ := follow(t, c, f, 1204) // an offset of before the cut
	late.until(t, "anew\n")
}

func TestTail(t *testing.T) {
	c := newConsole(t, Config{})
	f := made(t)
	_, err := c.Tail(f, 10)
	if host.KindOf(err) != host.Gone {
		t.Errorf("no log: %v", err)
	}
	g := guest(t, f)
	write(t, g, "0123456789")
	for n, want := range map[int]string{-5: "", 0: "", 3: "789", 10: "0123456789", 1 << 40: "0123456789"} {
		if got, err := c.Tail(f, n); err != nil || string(got) != want {
			t.Errorf("the last %d: %q, %v", n, got, err)
		}
	}
	if err := os.Rename(f.Log, f.Log+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(f.Log+".away", f.Log); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Tail(f, 3); host.KindOf(err) != host.Broken {
		t.Errorf("through a link: %q, %v", got, err)
	}
}

func TestDial(t *testing.T) {
	c := newConsole(t, Config{})
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f := host.Paths{Console: filepath.Join(dir, "c.sock")}
	if _, err := c.Dial(t.Context(), f); host.KindOf(err) != host.Gone {
		t.Errorf("no VMM: %v", err)
	}
	l, err := net.Listen("unix", f.Console)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := c.Dial(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Dial(ctx, f); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestTypingYieldsToAPerson(t *testing.T) {
	c := newConsole(t, Config{})
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	f := host.Paths{Console: filepath.Join(dir, "c.sock")}
	if err := c.Type(t.Context(), f, "x"); host.KindOf(err) != host.Gone {
		t.Errorf("no VMM: %v", err)
	}
	l, err := net.Listen("unix", f.Console)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	typed := make(chan error, 1)
	go func() { typed <- c.Type(ctx, f, "status\n") }()
	vmm, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len("status\n"))
	if _, err := io.ReadFull(vmm, b); err != nil || string(b) != "status\n" {
		t.Errorf("the VMM got %q, %v", b, err)
	}
	if _, err := vmm.Write([]byte("all well\n")); err != nil {
		t.Errorf("its answer isn't taken: %v", err)
	}
	cancel()
	if err := <-typed; err != nil {
		t.Errorf("when nobody waits any more: %v", err)
	}
	if _, err := vmm.Read(b); err == nil {
		t.Error("it stays at the console")
	}

	person, err := c.Dial(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Type(t.Context(), f, "x"); host.KindOf(err) != host.Denied {
		t.Errorf("beside a person: %v", err)
	}
	_ = person.Close()
	_ = person.Close()
	go func() { typed <- c.Type(t.Context(), f, "x") }()
	for range 2 { // the person's, and ours
		if vmm, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
	}
	_ = vmm.Close()
	if err := <-typed; host.KindOf(err) != host.Gone {
		t.Errorf("a VMM that hangs up: %v", err)
	}
}
