package unlinked

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// listener is another process that listens on a socket at path; who connects
// reads the word.
func listener(t *testing.T, path, word string) vm.Process {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := holder(t, fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 8)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, _, err := unix.Accept(fd)
			if err != nil {
				return
			}
			_, _ = unix.Write(conn, []byte(word))
			_ = unix.Close(conn)
		}
	}()
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // wakes who accepts
		<-ended
	})
	return p
}

// holder is another process that holds the socket, which is ours to close no more.
func holder(t *testing.T, fd int) vm.Process {
	t.Helper()
	file := os.NewFile(uintptr(fd), "listener")
	holds := exec.Command("sleep", "60")
	holds.ExtraFiles = []*os.File{file}
	if err := holds.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = file.Close()
		_ = holds.Process.Kill()
		_ = holds.Wait()
	})
	stat, err := procfs.Default.Stat(holds.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := procfs.Default.BootID()
	if err != nil {
		t.Fatal(err)
	}
	return vm.Process{PID: holds.Process.Pid, StartTime: stat.StartTime, BootID: boot}
}

func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "qmp.sock")
}

// dial connects, or skips where this machine lets nobody.
func dial(t *testing.T, p vm.Process, path string) net.Conn {
	t.Helper()
	conn, err := Dial(t.Context(), p, path)
	if host.KindOf(err) == host.Denied {
		t.Skipf("this machine keeps us from it: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestASocketIsReachedWithoutItsName(t *testing.T) {
	path := socket(t)
	folder := filepath.Dir(path)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(folder, 0o755))
	p := listener(t, path, "first")
	for _, one := range []struct {
		story string
		do    func()
	}{
		{"its name is there", func() {}},
		{"its name is deleted", func() { must(os.Remove(path)) }},
		{"its folder is deleted", func() { must(os.RemoveAll(folder)) }},
		{"another listens by its name", func() {
			must(os.Mkdir(folder, 0o755))
			listener(t, path, "second")
		}},
	} {
		one.do()
		conn := dial(t, p, path)
		word, err := io.ReadAll(conn)
		must(errors.Join(err, conn.Close()))
		if string(word) != "first" {
			t.Errorf("%s: it leads to %q", one.story, word)
		}
	}
}

func TestWhatIsNotThereIsGone(t *testing.T) {
	path := socket(t)
	if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	p := listener(t, path, "word")
	_ = dial(t, p, path).Close()
	other, before, unknown := p, p, p
	other.StartTime++
	before.BootID, unknown.BootID = "0c1a2b3c-0000-4000-8000-000000000002", ""
	for what, err := range map[string]error{
		"another socket":       second(Dial(t.Context(), p, path+"x")),
		"another process":      second(Dial(t.Context(), other, path)),
		"another boot":         second(Dial(t.Context(), before, path)),
		"a boot nobody noted":  second(Dial(t.Context(), unknown, path)),
		"a pid that is no one": second(Dial(t.Context(), vm.Process{PID: 1 << 22}, path)),
	} {
		if host.KindOf(err) != host.Gone || err == nil {
			t.Errorf("%s: want Gone, got %v", what, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := second(Dial(ctx, p, path)); err == nil {
		t.Error("a context that has ended is not heard")
	}
}

func second(_ net.Conn, err error) error { return err }
