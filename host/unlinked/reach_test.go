package unlinked

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestASocketIsReachedByItsNameOrWithout(t *testing.T) {
	path := filepath.Join(filepath.Dir(filepath.Dir(socket(t))), "a.sock")
	p := listener(t, path, "word")
	refused := errors.New("not this one")
	refuse := func(net.Conn) error { return refused }
	far := filepath.Join(filepath.Dir(path), strings.Repeat("f", 100), "a.sock")
	if err := errors.Join(os.Mkdir(filepath.Dir(far), 0o700), os.Link(path, far)); err != nil {
		t.Fatal(err)
	}
	reach := func(s Socket, want host.Kind) error {
		t.Helper()
		s.Doing = "reach it"
		conn, err := Reach(t.Context(), s)
		if err != nil {
			if host.KindOf(err) != want || !strings.HasPrefix(err.Error(), s.Doing) {
				t.Errorf("want kind %d, got %v", want, err)
			}
			return err
		}
		word, err := io.ReadAll(conn)
		if err = errors.Join(err, conn.Close()); err != nil || string(word) != "word" || want != 0 {
			t.Errorf("want kind %d, it leads to %q, %v", want, word, err)
		}
		return nil
	}
	_ = reach(Socket{Path: path}, 0)
	_ = reach(Socket{Path: far}, 0)
	if err := reach(Socket{Path: path, By: p, Check: refuse}, host.Denied); !errors.Is(err, refused) {
		t.Errorf("what was refused is not told: %v", err)
	}
	_ = dial(t, p, path).Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_ = reach(Socket{Path: path, By: p}, 0)
	_ = reach(Socket{Path: far + "x", Bound: path, By: p}, 0)
	for _, s := range []Socket{{Path: path}, {Path: path, By: p, Check: refuse}, {Path: path, Bound: "other", By: p}} {
		if err := reach(s, host.Gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what its name said is not told: %v", err)
		}
	}
}

// Who is told Gone gives the socket up: what may pass is not that.
func TestWhatMayPassIsTransient(t *testing.T) {
	path := filepath.Join(filepath.Dir(filepath.Dir(socket(t))), "a.sock")
	_ = dial(t, listener(t, path, "word"), path).Close() // which skips
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	full := crowded(t, path)
	want := func(story string, err error) {
		t.Helper()
		if err == nil || host.KindOf(err) != host.Transient {
			t.Errorf("%s: want Transient, got %v", story, err)
		}
	}
	want("by its name", second(Reach(t.Context(), Socket{Path: path, By: full})))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("without one", second(Reach(t.Context(), Socket{Path: path, By: full})))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want("a caller that has gone", second(Reach(ctx, Socket{Path: path, By: full})))
}

// crowded is a process that listens and accepts nobody, and whose backlog is full.
func crowded(t *testing.T, path string) vm.Process {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := holder(t, fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		conn, err := net.Dial("unix", path)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Fatalf("want a full backlog, got %v", err)
			}
			return p
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("its backlog is never full")
	return p
}

func TestKinds(t *testing.T) {
	for err, want := range map[error]host.Kind{
		unix.ENOENT: host.Gone, unix.ECONNREFUSED: host.Gone, unix.ESRCH: host.Gone, errNone: host.Gone,
		unix.EPERM: host.Denied, unix.EACCES: host.Denied, unix.ENOSYS: host.Denied, unix.ENOTTY: host.Denied,
		unix.EAGAIN: host.Transient, unix.EMFILE: host.Transient, unix.ENFILE: host.Transient, unix.ENOMEM: host.Transient, context.DeadlineExceeded: host.Transient,
	} {
		if got := kindOf(err); got != want {
			t.Errorf("%v: want %d, got %d", err, want, got)
		}
	}
}
