package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/blixard/blixard/vm"
)

// patience is how long a person is left without a word.
const patience = time.Second

// progress is one line on the terminal that says what is waited for. It shows
// only where standard error is a terminal, and leaves no trace.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	shown bool
	done  chan struct{}
}

// waiting shows what is waited for until the returned function is called.
func (c *cli) waiting(what string, args ...any) (stop func()) {
	if !c.errIs {
		return func() {}
	}
	p := &c.progress
	p.mu.Lock()
	if p.done != nil { // an outer wait shows already
		p.mu.Unlock()
		return func() {}
	}
	done := make(chan struct{})
	p.out, p.done = c.err, done
	p.mu.Unlock()
	go p.show(string(vm.Visible(fmt.Appendf(nil, what, args...))), c.now(), c.now, done)
	return p.hide
}

func (p *progress) show(what string, began time.Time, now func() time.Time, done <-chan struct{}) {
	tick := time.NewTicker(patience)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if (<-chan struct{})(p.done) == done {
			fmt.Fprintf(p.out, "\r\x1b[K%s (%s)", what, age(now().Sub(began)))
			p.shown = true
		}
		p.mu.Unlock()
	}
}

// hide wipes the line; hiding twice is fine.
func (p *progress) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		close(p.done)
		p.done = nil
	}
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// over writes to standard error above the line, which comes back by itself.
func (p *progress) over(write func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
	write()
}
