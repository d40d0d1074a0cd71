package control

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// held is a socket that a service manager keeps open over the lives of a daemon.
func held(t *testing.T, path string) (life func() *net.UnixListener) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	t.Cleanup(func() { _ = f.Close() })
	return func() *net.UnixListener {
		t.Helper()
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return l.(*net.UnixListener)
	}
}

// TestNobodyIsRefusedAcrossRestarts calls without a pause, each time on a new
// connection, while daemon after daemon serves the same socket and ends.
func TestNobodyIsRefusedAcrossRestarts(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	life := held(t, path)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })

	var callers sync.WaitGroup
	enough := make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for calls := 0; ; calls++ {
				select {
				case <-enough:
					if calls == 0 {
						t.Error("a caller was never answered")
					}
					return
				default:
				}
				c := client(path, false)
				res, err := c.Get("http://node/")
				if err != nil {
					t.Errorf("call %d: %v", calls, err)
					return
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				c.CloseIdleConnections()
				if string(b) != "served" || err != nil {
					t.Errorf("call %d: %q, %v", calls, b, err)
					return
				}
			}
		})
	}
	const lives = 100
	for range lives {
		l, err := Take(life(), path)
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(handler, nil)
		done := make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		c := client(path, false)
		res, err := c.Get("http://node/") // so that each life serves somebody
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		c.CloseIdleConnections()
		s.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	close(enough)
	l, err := Take(life(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(handler, nil)
	go func() { _ = s.Serve(l) }()
	callers.Wait()
	s.Shutdown(context.Background())
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket's file is the service manager's: %v", err)
	}
}

func TestAGivenSocketHasOneDaemonToo(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	life := held(t, path)
	first, err := Take(life(), path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Take(life(), path)
	refusal(t, err, vm.Exists, path)
	_, err = Listen(path, 0o660, "") // started by hand beside the service
	refusal(t, err, vm.Exists, path)
	time.AfterFunc(succession/5, func() { _ = first.Close() })
	next, err := Take(life(), path)
	if err != nil {
		t.Fatalf("the successor was refused: %v", err)
	}
	_ = next.Close()
}
