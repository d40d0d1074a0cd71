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
		_ = guests[i].Close()
	}
	if more := openFiles(t) - files; more > 2 { // one is open during a visit
		t.Errorf("%d files are held for %d consoles", more, n)
	}
	if more := runtime.NumGoroutine() - routines; more > 0 {
		t.Errorf("%d goroutines for %d consoles", more, n)
	}
	settled := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	<-time.After(50 * time.Millisecond) // the last visits
	before := settled()
	<-time.After(300 * time.Millisecond) // a span to measure, not to wait for
	t.Logf("%d idle consoles used %v of CPU in 300 ms", n, settled()-before)
	for _, cancel := range cancels {
		cancel()
	}
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		c.mu.Lock()
		left, watches := len(c.streams), len(c.watches)
		c.mu.Unlock()
		if left+watches == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d streams and %d watches are left", left, watches)
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
	if openFiles(t) > files || runtime.NumGoroutine() > routines {
		t.Errorf("%d files and %d goroutines before, %d and %d after", files, routines, openFiles(t), runtime.NumGoroutine())
	}
}
