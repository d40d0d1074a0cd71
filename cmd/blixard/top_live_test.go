package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a terminal that a test sits at: it types into it, and reads the screen.
type pty struct {
	t            *testing.T
	master, line *os.File
	mu           sync.Mutex
	seen         []byte
	more         chan struct{}
}

func openPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	line, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("no terminal can be made here: ", err)
	}
	p := &pty{t: t, master: master, line: line, more: make(chan struct{}, 1)}
	t.Cleanup(func() { master.Close(); line.Close() })
	p.resize(80, 24)
	go func() {
		buf := make([]byte, 8192)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.seen = append(p.seen, buf[:n]...)
			p.mu.Unlock()
			select {
			case p.more <- struct{}{}:
			default:
			}
		}
	}()
	return p
}

func (p *pty) resize(width, height uint16) {
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) modes() unix.Termios {
	m, err := unix.IoctlGetTermios(int(p.line.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *m
}

// sees waits until the screen was told that text, after all that was seen before.
func (p *pty) sees(text string) {
	p.t.Helper()
	late := time.After(30 * time.Second)
	for {
		p.mu.Lock()
		i := bytes.Index(p.seen, []byte(text))
		if i >= 0 {
			p.seen = p.seen[i+len(text):]
			p.mu.Unlock()
			return
		}
		shown := string(p.seen)
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-late:
			p.t.Fatalf("the terminal never showed %q; it has %q", text, shown)
		}
	}
}

func (p *pty) types(keys string) {
	if _, err := p.master.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// top runs the view on the terminal; its exit code comes when it has left.
func (p *pty) top(socket string) <-chan int {
	p.t.Setenv("BLIXARD_SOCKET", socket)
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"top", "--interval", "500ms"}, &terminal{
			in: p.line, inFD: int(p.line.Fd()), inIs: true, out: p.line, outIs: true, err: p.line, live: true, width: 80,
			size: func() (int, int) { return sizeOf(int(p.line.Fd())) }, now: func() time.Time { return noon },
		})
	}()
	return code
}

func (p *pty) left(code <-chan int, was unix.Termios) {
	p.t.Helper()
	p.sees(giveScreen)
	select {
	case got := <-code:
		if got != exitDone {
			p.t.Errorf("exit code %d", got)
		}
	case <-time.After(30 * time.Second):
		p.t.Fatal("it did not leave")
	}
	if p.modes() != was {
		p.t.Errorf("the terminal is not as it was:\n%+v\n%+v", p.modes(), was)
	}
}

func TestTopGivesTheTerminalBack(t *testing.T) {
	for name, leave := range map[string]func(*pty){
		"by q":       func(p *pty) { p.types("q") },
		"by Ctrl-C":  func(p *pty) { p.types("\x03") },
		"by SIGTERM": func(*pty) { _ = syscall.Kill(os.Getpid(), syscall.SIGTERM) }, // caught: the screen was taken after that was asked for
		"by SIGHUP":  func(*pty) { _ = syscall.Kill(os.Getpid(), syscall.SIGHUP) },
	} {
		t.Run(name, func(t *testing.T) {
			p := openPTY(t)
			was := p.modes()
			code := p.top(startNodeOf(t, busy))
			p.sees(takeScreen)
			p.sees("q quit")
			if p.modes() == was {
				t.Error("the terminal is not raw: no key would be seen before Enter")
			}
			leave(p)
			p.left(code, was)
		})
	}
}

// A daemon that goes away is told, waited for, and followed again; a resize is drawn.
func TestTopOutlivesTheDaemon(t *testing.T) {
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, first := filepath.Join(dir, "s"), &closer{T: t}
	serveNode(first, socket, busy)
	p := openPTY(t)
	was := p.modes()
	code := p.top(socket)
	p.sees("96% used")
	first.close()
	p.sees("the daemon can't be reached")
	second := &closer{T: t}
	serveNode(second, socket, overfull)
	p.sees("reserved 768MiB of 512MiB")
	p.resize(120, 30)
	p.sees("WRITE/s")
	p.types("\x1b[B")
	p.sees(">web")
	p.types("/zzz\r")
	p.sees("no VM has")
	p.types("\x1bq")
	second.close()
	p.left(code, was)
}

// Without a daemon nothing is taken: it is an error, as everywhere.
func TestTopNeedsADaemonToBegin(t *testing.T) {
	p := openPTY(t)
	was := p.modes()
	if code := <-p.top("/no/such/socket"); code != exitUnreachable || p.modes() != was {
		t.Errorf("exit code %d", code)
	}
}

// closer ends a fakeNode in the middle of a test.
type closer struct {
	*testing.T
	ends []func()
}

func (c *closer) Cleanup(f func()) {
	c.ends = append(c.ends, f)
	c.T.Cleanup(f)
}

func (c *closer) close() {
	for _, f := range c.ends {
		f()
	}
}
