package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// What the view writes to take the terminal, and to give it back: the other
// screen, no cursor, no wrapped lines.
const (
	takeScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	giveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	firstLine  = "\x1b[H"
	restOfLine = "\x1b[K"
	restBelow  = "\x1b[J"
)

// sequencePause is how long the rest of a key's bytes may take; then Esc was Esc.
const sequencePause = 50 * time.Millisecond

// suspendPause is how long a job that nobody stops waits for it.
const suspendPause = 200 * time.Millisecond

// screen is the terminal while the view has it.
type screen struct {
	c       *cli
	restore func()
}

func (c *cli) takeScreen() (*screen, error) {
	restore, err := c.raw()
	if err != nil {
		return nil, err
	}
	if _, err := c.out.Write([]byte(takeScreen)); err != nil {
		restore()
		return nil, fmt.Errorf("writing to the terminal: %w", err)
	}
	return &screen{c, restore}, nil
}

// leave gives the terminal back as it was; twice is fine.
func (s *screen) leave() {
	if s.restore == nil {
		return
	}
	_, _ = s.c.out.Write([]byte(giveScreen)) // a terminal that is gone needs nothing
	s.restore()
	s.restore = nil
}

// again takes the other screen once more; one that fails is seen by the next frame.
func (s *screen) again() { _, _ = s.c.out.Write([]byte(takeScreen)) }

// show writes one frame at once, so that no half of one is seen. Each line is
// emptied before it is written: behind a full one, its last character would go.
func (s *screen) show(lines []string, height int) error {
	frame := firstLine + restOfLine + strings.Join(lines, "\r\n"+restOfLine)
	if len(lines) < height { // below a full screen there is nothing, and its last character would go
		frame += restBelow
	}
	if _, err := s.c.out.Write([]byte(frame)); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// topLive follows the node until the person leaves, a signal comes or the
// terminal is gone. A daemon that goes away is waited for.
func (c *cli) topLive(ctx context.Context, v *topView) error {
	node := c.node()
	first, err := c.lookAt(ctx, node) // no daemon at all is an error, not waited for
	if err != nil {
		return err
	}
	v.take(first)
	ctx, end := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer end()
	changed := make(chan os.Signal, 4)
	signal.Notify(changed, syscall.SIGWINCH, syscall.SIGCONT)
	defer signal.Stop(changed)
	s, err := c.takeScreen()
	if err != nil {
		return err
	}
	defer s.leave()
	l := &topLoop{c: c, v: v, screen: s, changed: changed, typed: make(chan []byte), looks: make(chan looked, 1), over: ctx.Done()}
	l.lookNow = func() {
		go func() {
			got, err := c.lookAt(ctx, node)
			l.looks <- looked{got, err}
		}()
	}
	go l.read()
	return l.run()
}

type looked struct {
	look look
	err  error
}

// topLoop brings keys, looks and signals together. One look is under way at a
// time: the next one is due after its answer.
type topLoop struct {
	c       *cli
	v       *topView
	screen  *screen
	keys    keyReader
	changed chan os.Signal
	typed   chan []byte
	looks   chan looked
	over    <-chan struct{}
	lookNow func()
}

// read ends with the terminal, or with the program: a read of a terminal can't be called off.
func (l *topLoop) read() {
	defer close(l.typed)
	for {
		buf := make([]byte, 256)
		n, err := l.c.in.Read(buf)
		if n > 0 {
			select {
			case l.typed <- buf[:n]:
			case <-l.over:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *topLoop) run() error {
	next, rest, second := time.NewTimer(l.v.interval), time.NewTimer(time.Hour), time.NewTicker(time.Second)
	defer next.Stop()
	defer rest.Stop()
	defer second.Stop()
	for {
		width, height := l.c.size()
		if err := l.screen.show(l.c.draw(l.v, width, height), height); err != nil {
			return nil // the terminal is gone, and nobody reads an error
		}
		var keys []key
		select {
		case <-l.over:
			return nil
		case b, open := <-l.typed:
			if !open {
				return nil
			}
			keys = l.keys.feed(b)
			rest.Reset(sequencePause)
		case <-rest.C:
			keys = l.keys.flush()
		case got := <-l.looks:
			l.took(got)
			next.Reset(l.wait())
		case <-next.C:
			if l.v.paused {
				next.Reset(l.v.interval)
				break
			}
			l.lookNow()
		case <-second.C: // ages grow
		case s := <-l.changed:
			if s == syscall.SIGCONT { // who stopped it may have used the terminal
				l.screen.again()
			}
		}
		for _, k := range keys {
			leaves, err := l.press(k)
			if leaves || err != nil {
				return err
			}
		}
	}
}

// wait is the time until the next look; a daemon that is lost is looked for at
// least every two seconds.
func (l *topLoop) wait() time.Duration {
	if l.v.lost != "" {
		return min(l.v.interval, 2*time.Second)
	}
	return l.v.interval
}

func (l *topLoop) took(got looked) {
	switch {
	case got.err == nil:
		l.v.take(got.look)
	case errors.Is(got.err, context.Canceled):
	default:
		l.v.lose(refusalOf(got.err).Why, l.c.now())
	}
}

func (l *topLoop) press(k key) (leaves bool, err error) {
	switch k {
	case keySuspend:
		return false, l.suspend()
	case keyRedraw:
		return false, nil
	}
	return l.v.press(k), nil
}

// suspend gives the terminal back while the program stands still, with all of
// its job, as the terminal would have it. SIGTSTP keeps its default: Go doesn't
// give that back to a signal once it was caught.
func (l *topLoop) suspend() error {
	l.screen.leave()
	if err := syscall.Kill(0, syscall.SIGTSTP); err == nil {
		select { // the stop takes effect while it waits here; a job without a shell is not stopped
		case <-l.over:
		case <-l.changed:
		case <-time.After(suspendPause):
		}
	}
	s, err := l.c.takeScreen()
	if err != nil {
		return err
	}
	*l.screen = *s
	return nil
}
