package actors

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// consoleWindow is how many bytes from before a chunk a pattern may begin in.
const consoleWindow = 4 << 10

// consoleEar is what a console check has heard.
type consoleEar struct {
	well     bool          // the last thing that was published was a success
	answered chan struct{} // closed when what was typed is answered; nil: nothing was
	from     time.Time     // when the time for the next beat began
	seen     time.Time     // the last beat
	look     glanced       // at the VMM's process, when that time began
	window   []byte        // the end of what was looked through
	lost     int64         // bytes that were not, as there were too many
}

// beatJudged: a goroutine of the probe → itself.
type beatJudged struct {
	missed *probed // nil: there was a beat in time
	look   glanced
}

// pattern compiles what Spec.Check has compiled before; empty matches nothing.
func pattern(expr string) *regexp.Regexp {
	if expr == "" {
		return nil
	}
	return regexp.MustCompile(expr)
}

// followConsole is one reader for each incarnation: it keeps the log bounded
// (P15) and feeds the console checks. What a guest that had answered wrote
// before an adoption isn't read again; one that had not may have said while
// nobody listened that it is up, and says so only once.
func (r *runActor) followConsole() {
	self, env, listening, said := r.self, r.env, r.listening, r.said
	for _, c := range r.checks {
		if c.Type == vm.CheckConsole {
			listening.Store(true)
		}
	}
	from := int64(0)
	if _, adopted := r.first.(doAttach); adopted && r.ready || r.heard != nil { // what it said before a reset is of another boot
		from = host.ConsoleEnd
	}
	cancel, err := env.ports.Console.Follow(r.paths, from, func(b []byte) {
		if listening.Load() && said.add(b, 0) {
			env.tell(self, consoleSpoke{})
		}
	})
	if err != nil {
		r.sessionFailed(sessionFailed{"follow console", err})
		return
	}
	context.AfterFunc(r.ctx, cancel)
}

// consoleSpoke passes on what the console says to the probes that listen.
func (r *runActor) consoleSpoke() {
	text, lost, _ := r.said.take(mostSpoken)
	for i := range r.probes {
		if w := &r.probes[i]; w.pid != nil && w.Check.Type == vm.CheckConsole && w.said.add(text, lost) {
			r.env.tell(w.pid, consoleSpoke{})
		}
	}
}

// listens says whether the check only hears, and asks nothing.
func (p *probeActor) listens() bool { return p.check.Type == vm.CheckConsole && p.check.Send == "" }

// consoleSpoke looks through what has come, after so much of what came before
// that a pattern may have begun in it.
func (p *probeActor) consoleSpoke() {
	now := p.now()
	text, lost, more := p.said.take(pieceSpoken)
	if more {
		p.env.tell(p.self, consoleSpoke{})
	}
	if lost > 0 {
		if p.hears.lost == 0 {
			p.env.log.Info("a guest writes more to its console than its checks can hear", zap.String("actor", p.self.Id), zap.Int64("lost", lost))
		}
		p.hears.lost += lost
		p.hears.window = nil
	}
	old := len(p.hears.window)
	text = append(p.hears.window, text...)
	p.hears.window = bytes.Clone(text[max(0, len(text)-consoleWindow):])
	round := vm.Round{Check: policies.Title(p.check), At: now}
	switch {
	case policies.Newly(p.unhealthy, text, old):
		p.hears.well = false
		round.Detail = fmt.Sprintf("the console matches %q", p.check.Unhealthy)
		p.env.tell(p.parent, probed{visit: p.visit, index: p.index, round: round, certain: true})
	case !policies.Newly(p.healthy, text, old):
	case p.check.Send != "":
		if p.hears.answered != nil {
			close(p.hears.answered)
			p.hears.answered = nil
		}
	default:
		p.hears.seen = now
		if !p.hears.well {
			p.hears.well, round.OK = true, true
			p.env.tell(p.parent, probed{visit: p.visit, index: p.index, round: round})
		}
	}
}

// beat ends the time in which the console had to say something again. A glance
// at each end tells whether the host kept the VMM from it (P16).
func (p *probeActor) beat(m goAhead) {
	now, every, ear := p.now(), p.check.Every, p.hears
	a := policies.Attempt{Timeout: every, Began: ear.from, Ended: now, Late: now.Sub(p.due)}
	var missed *probed
	if now.Sub(ear.seen) >= every {
		missed = &probed{visit: p.visit, index: p.index, round: vm.Round{
			Check: policies.Title(p.check), At: ear.from, Took: now.Sub(ear.from), Detail: fmt.Sprintf("%q was not seen for %s", p.check.Healthy, every),
		}}
	}
	p.guarded(func() any {
		out := beatJudged{missed: missed}
		if missed != nil && m.ready {
			missed.round.Dropped = p.env.stalled(a, m.process, ear.look)
		}
		if m.process != nil && p.env.ports.Meter != nil {
			out.look = p.env.glanceAt(*m.process)
		}
		return out
	})
}

func (p *probeActor) beatJudged(m beatJudged) {
	p.hears.look = m.look
	if m.missed != nil {
		p.hears.well, p.hears.seen = false, p.now() // one failure for each time that it doesn't come
		p.env.tell(p.parent, *m.missed)
	}
	p.hears.from = p.hears.seen
	p.arm(max(0, p.hears.seen.Add(p.check.Every).Sub(p.now())))
}

// sending types, and waits for the answer.
func (p *probeActor) sending() func(context.Context) sight {
	answered := make(chan struct{})
	p.hears.answered = answered
	console, paths, c := p.env.ports.Console, p.paths, p.check
	return func(ctx context.Context) sight {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		typed := make(chan error, 1)
		go func() { typed <- console.Type(ctx, paths, c.Send+"\n") }()
		select {
		case <-answered:
			return sight{ok: true, detail: fmt.Sprintf("%q came", c.Healthy)}
		case err := <-typed:
			switch {
			case ctx.Err() != nil:
			case host.KindOf(err) == host.Denied:
				return unproved("a person is at the console")
			case err != nil:
				return saw("", err)
			}
		case <-ctx.Done():
		}
		return sight{detail: fmt.Sprintf("%q did not come within %s", c.Healthy, vm.Span(c.Timeout))}
	}
}
