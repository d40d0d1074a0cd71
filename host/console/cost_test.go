package console

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// TestIdleConsolesCostNothing counts what idle consoles hold, and the visits to
// their logs: neither depends on how busy the machine is, as CPU time does.
func TestIdleConsolesCostNothing(t *testing.T) {
	c := newConsole(t, Config{Pause: time.Millisecond})
	files, routines := openFiles(t), runtime.NumGoroutine()
	const n = 1000
	dir := t.TempDir()
	var cancels []func()
	var ears []*ear
	var guests []*os.File
	for i := range n {
		f := host.Paths{Log: filepath.Join(dir, fmt.Sprintf("console-%d.log", i))}
		g := guest(t, f)
		write(t, g, "up\n")
		e, cancel := follow(t, c, f, 0)
		ears, cancels, guests = append(ears, e), append(cancels, cancel), append(guests, g)
	}
	for i, e := range ears {
		e.until(t, "up\n")
		write(t, guests[i], "beat\n")
	}
	for i, e := range ears {
		e.until(t, "beat\n")
		if i > 0 {
			_ = guests[i].Close()
		}
	}
	eventually(t, "every log is watched, and none is visited", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.streams {
			if s.watch < 0 {
				return false
			}
		}
		return len(c.dirty) == 0 && runtime.NumGoroutine() <= routines
	})
	if more := openFiles(t) - files; more > 1 { // the guest that is left
		t.Errorf("%d files are held for %d consoles", more, n)
	}
	opened := watchOpens(t, dir)
	if opened(300 * time.Millisecond) {
		t.Error("an idle console's log was visited")
	}
	write(t, guests[0], "again\n")
	if !opened(patience) {
		t.Error("no visit is seen where there is news: this test tests nothing")
	}
	for _, cancel := range cancels {
		cancel()
	}
	eventually(t, "no stream and no watch is left", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.streams)+len(c.watches) == 0
	})
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came so far: %s", what)
		}
	}
}

// watchOpens returns what says whether a file of the folder is opened within a time.
func watchOpens(t *testing.T, dir string) func(within time.Duration) bool {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	return func(within time.Duration) bool {
		for deadline := time.Now().Add(within); ; {
			left := max(time.Until(deadline), 0)
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
			if !errors.Is(err, unix.EINTR) {
				return n > 0
			}
		}
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

func TestClosedConsoleIsQuiet(t *testing.T) {
	files, routines := openFiles(t), runtime.NumGoroutine()
	c, err := New(Config{Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	f := made(t)
	g := guest(t, f)
	var told bytes.Buffer
	cancel, err := c.Follow(f, 0, func(b []byte) { told.Write(b) })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	before := told.Len()
	write(t, g, "late\n")
	cancel()
	if told.Len() != before {
		t.Errorf("told %q after the close", told.String())
	}
	if _, err := c.Follow(f, 0, nil); host.KindOf(err) != host.Gone {
		t.Errorf("follow after the close: %v", err)
	}
	_ = g.Close()
	// A timer that was due already is a goroutine for a moment.
	eventually(t, fmt.Sprintf("%d files and %d goroutines, as before", files, routines), func() bool {
		return openFiles(t) <= files && runtime.NumGoroutine() <= routines
	})
}
