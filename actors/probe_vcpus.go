package actors

import (
	"context"
	"slices"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// processors is what one look showed of a guest's processors, by the threads that
// its VMM named in this session.
type processors struct {
	session host.Session // that was asked for the threads; nil: none was
	threads []int
	all     []vm.VCPU // empty: nobody can look
	at      time.Time
	waits   *glanced // at the VMM and the node right behind it; nil: none of them waited in the kernel
}

// progress is the round of a vmm check: the VMM answers, and the processors of a
// guest that runs make progress as far as anybody can say.
func (p *probeActor) progress(ctx context.Context, m goAhead, before processors) sight {
	if m.session == nil {
		return saw("", errNoSession)
	}
	if before.session != m.session {
		before = processors{}
	}
	state, err := m.session.State(ctx)
	if err != nil {
		out := saw("", err)
		out.processors = before
		if out.late {
			out.aside = p.env.unanswering(m.process, before)
		}
		return out
	}
	if state != host.GuestRuns {
		return sight{ok: true}
	}
	now := before
	if now.session == nil {
		if now, err = named(ctx, m.session); err != nil {
			return saw("", err)
		}
	}
	now = p.env.lookAt(m.process, now)
	if slices.ContainsFunc(now.all, hasEnded) { // or it was taken out, by whoever may
		again, err := named(ctx, m.session)
		if err != nil {
			return saw("", err)
		}
		if !slices.Equal(again.threads, now.threads) {
			before, now = processors{}, p.env.lookAt(m.process, again)
		}
	}
	out := sight{processors: now, detail: policies.Standstill(now.all, before.all)}
	if out.ok = out.detail == ""; out.ok {
		out.detail = policies.Work(now.all, before.all, now.at.Sub(before.at))
	}
	if out.glance.Blocked = policies.Waiting(now.all); out.glance.Blocked > 0 {
		seen := p.env.glanceAt(*m.process)
		seen.blocked, out.processors.waits = true, &seen
	}
	out.since = before.waits
	return out
}

func hasEnded(c vm.VCPU) bool { return c.State == vm.ProcessGone }

// named asks a VMM for the threads of its guest's processors. One that can't tell
// is asked no more.
func named(ctx context.Context, s host.Session) (processors, error) {
	threads, err := s.VCPUs(ctx)
	if err != nil && host.KindOf(err) != host.Broken {
		return processors{}, err
	}
	return processors{session: s, threads: threads}, nil
}

// lookAt looks at the threads once more.
func (e *env) lookAt(process *vm.Process, before processors) processors {
	now := processors{session: before.session, threads: before.threads, at: e.ports.Clock.Now()}
	if e.ports.Meter == nil || process == nil || len(before.threads) == 0 {
		return now
	}
	if all, err := e.ports.Meter.VCPUs(*process, before.threads); err == nil { // of one that is gone its end is told
		now.all = policies.Followed(all, before.all)
	}
	return now
}

// unanswering tells what the processors did while a question stayed unanswered,
// where they were looked at in that time.
func (e *env) unanswering(process *vm.Process, before processors) string {
	if len(before.all) == 0 {
		return ""
	}
	now := e.lookAt(process, before)
	if why := policies.Standstill(now.all, nil); why != "" {
		return why
	}
	return policies.Unanswering(now.all, before.all, now.at.Sub(before.at))
}
