package actors

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// probe is one check of the guest at work. It reports; policies judge.
type probe struct {
	policies.Probe
	healthy, unhealthy *regexp.Regexp
	due                time.Time // when the current round began
}

// What probes bring back to their run actor.
type (
	probeDue    struct{ visit, index int }
	probeResult struct {
		probeDue
		agent host.AgentConn // opened by this round, or as it was
		err   error
	}
	consoleSpoke struct{ text []byte }
)

// consoleWindow is how many bytes from before a chunk a pattern may begin in.
const consoleWindow = 4 << 10

// startProbes begins all checks; where none is set, a VMM that answers is ready.
func (r *runActor) startProbes() {
	r.visit++
	r.probes = make([]probe, len(r.rec.Spec.Health))
	for i, check := range r.rec.Spec.Health {
		r.probes[i] = probe{Probe: r.newProbe(check), healthy: pattern(check.Healthy), unhealthy: pattern(check.Unhealthy)}
		if check.Type != vm.CheckConsole {
			r.probe(probeDue{r.visit, i})
		}
	}
	r.judge()
}

// newProbe begins a check; what was proved before an adoption isn't doubted again (P10).
func (r *runActor) newProbe(c vm.Check) policies.Probe {
	p := policies.NewProbe(c, r.env.ports.Clock.Now())
	if r.ready {
		p.Health, p.Why = max(r.rec.State.Health, vm.Healthy), "as before the daemon's restart"
		if r.visit > 1 {
			p.Why = "as before it stood still"
		}
	}
	return p
}

// pattern compiles what Spec.Check has compiled before; empty matches nothing.
func pattern(expr string) *regexp.Regexp {
	if expr == "" {
		return nil
	}
	return regexp.MustCompile(expr)
}

// probe begins one round of one check. Before the guest is ready a round lasts
// as long as the start may: the answer comes the moment that the guest is up,
// and nothing polls.
func (r *runActor) probe(m probeDue) {
	if m.visit != r.visit {
		return
	}
	if r.paused || r.off {
		r.after(r.probes[m.index].Check.Interval, m) // a guest that stands still, or is going, proves nothing
		return
	}
	p := &r.probes[m.index]
	limit, kind := p.Check.Timeout, p.Check.Type
	if !r.ready {
		limit = r.rec.Spec.Start.Timeout
	}
	p.due = r.env.ports.Clock.Now()
	session, owner := r.session, r.ctx
	r.background(limit, func(ctx context.Context) any {
		if kind == vm.CheckVMM {
			return probeResult{probeDue: m, err: answers(ctx, session)}
		}
		conn, err := r.agentConn(ctx, owner)
		if err == nil {
			err = conn.Ping(ctx)
		}
		return probeResult{probeDue: m, agent: conn, err: err}
	})
}

func answers(ctx context.Context, s host.Session) error {
	if s == nil {
		return fmt.Errorf("no session")
	}
	_, err := s.State(ctx)
	return err
}

func (r *runActor) probeResult(m probeResult) {
	if host.KindOf(m.err) == host.Gone {
		r.agent.drop(m.agent) // the next round opens it anew
	}
	if m.visit != r.visit {
		return
	}
	p := &r.probes[m.index]
	if !r.off && !r.paused && (m.err == nil || !r.stalled(p)) {
		p.Probe = p.Took(m.err == nil, r.env.ports.Clock.Now(), reasonOf(m.err))
		r.judge()
	}
	r.after(p.Check.Interval, m.probeDue)
}

// stalled says that a round took far longer than its timeout allows: it was us,
// or the host, that stood still, and the guest is not to blame (P16).
func (r *runActor) stalled(p *probe) bool {
	return r.ready && r.env.ports.Clock.Now().Sub(p.due) > 2*p.Check.Timeout+time.Second
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// judge folds the streaks into one health and acts on it: ready at the first
// time that all have passed, and an end of the incarnation when it is unhealthy.
func (r *runActor) judge() {
	if len(r.probes) == 0 { // a VMM that answers is ready then, and nothing is known of its health
		if !r.ready {
			r.nowReady()
		}
		if len(r.cutOff) == 0 && r.told == (messages.HealthJudged{}) {
			return
		}
	}
	all := make([]policies.Probe, len(r.probes))
	for i := range r.probes {
		all[i] = r.probes[i].Probe
	}
	health, why := policies.Judge(all)
	if !r.ready && health == vm.Healthy {
		r.nowReady()
	}
	sick := health == vm.Unhealthy
	if r.ready && len(r.cutOff) > 0 {
		health, why = vm.Unhealthy, cutOffWhy(r.cutOff)
	}
	if now := (messages.HealthJudged{Incarnation: r.ref.Incarnation, Health: health, Why: why}); now != r.told {
		r.told = now
		r.env.tell(r.parent, now)
	}
	if sick {
		r.evidence.Unhealthy = why
		r.ended(nil)
	}
}

// cutOffWhy names the cause: no probe of the guest decides this.
func cutOffWhy(links map[string]string) string {
	var all []string
	for _, why := range links {
		all = append(all, why)
	}
	slices.Sort(all)
	return string(vm.CauseLinkLost) + ": " + strings.Join(all, "; ")
}

func (r *runActor) nowReady() {
	r.ready = true
	r.env.tell(r.parent, messages.GuestAnswered{Incarnation: r.ref.Incarnation})
	r.setClock()
}

// followConsole is one reader for each incarnation: it keeps the log bounded
// (P15) and feeds the console checks. What a guest that had answered wrote
// before an adoption isn't read again; one that had not may have said while
// nobody listened that it is up, and says so only once.
func (r *runActor) followConsole() {
	var window []byte
	self, env := r.self, r.env
	listening := false
	for _, c := range r.rec.Spec.Health {
		listening = listening || c.Type == vm.CheckConsole
	}
	from := int64(0)
	if _, adopted := r.first.(doAttach); adopted && r.ready || r.heard != nil { // what it said before a reset is of another boot
		from = host.ConsoleEnd
	}
	cancel, err := env.ports.Console.Follow(r.paths, from, func(b []byte) {
		if !listening {
			return
		}
		window = append(window, b...)
		env.tell(self, consoleSpoke{bytes.Clone(window)})
		window = append(window[:0], window[max(0, len(window)-consoleWindow):]...)
	})
	if err != nil {
		r.sessionFailed(sessionFailed{"follow console", err})
		return
	}
	context.AfterFunc(r.ctx, cancel)
}

func (r *runActor) consoleSpoke(m consoleSpoke) {
	now := r.env.ports.Clock.Now()
	for i := range r.probes {
		p := &r.probes[i]
		switch {
		case p.unhealthy != nil && p.unhealthy.Match(m.text):
			p.Probe = p.Condemned(now, fmt.Sprintf("the console matches %q", p.Check.Unhealthy))
			r.judge()
		case p.healthy != nil && p.healthy.Match(m.text):
			p.Probe = p.Took(true, now, "")
			r.judge()
		}
	}
}
