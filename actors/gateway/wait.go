package gateway

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const (
	defaultWait = 30 * time.Second
	maxWait     = time.Hour
)

// wanted is what WaitVM waits for.
type wanted struct {
	phase   vm.Phase // zero: any
	removed bool
	health  *vm.Health // nil: any
	after   vm.Revision
}

func wantedBy(m *blixardv1.WaitVMRequest) (wanted, error) {
	w := wanted{after: vm.Revision(m.GetAfterRevision()), removed: m.GetPhase() == "removed"}
	if m.GetPhase() == "" && m.GetHealth() == "" {
		return w, invalid("it says neither a phase nor a health to wait for", "phase=running or health=healthy")
	}
	if m.GetPhase() != "" && !w.removed {
		if err := w.phase.UnmarshalText([]byte(m.GetPhase())); err != nil {
			return w, invalid(fmt.Sprintf("%.40q is no phase", m.GetPhase()), "one of "+vm.AllPhases.String()+"|removed")
		}
	}
	if m.GetHealth() != "" {
		w.health = new(vm.Health)
		if err := w.health.UnmarshalText([]byte(m.GetHealth())); err != nil {
			return w, invalid(fmt.Sprintf("%.40q is no health", m.GetHealth()), "unknown|starting|healthy|degraded|unhealthy")
		}
	}
	return w, nil
}

func invalid(why, try string) *vm.Refusal { return &vm.Refusal{Code: vm.Invalid, Why: why, Try: try} }

func (w wanted) holds(r vm.Record) bool {
	s := r.State
	return !w.removed && s.Revision > w.after && (w.phase == 0 || s.Phase == w.phase) && (w.health == nil || s.Health == *w.health)
}

// hopeless says that the VM was given up, or couldn't be saved after it was asked
// to, and nothing but a person will change that: waiting on would only hide it.
func (w wanted) hopeless(r vm.Record) bool {
	if w.phase == vm.Suspended && w.after > 0 && r.State.Revision > w.after && r.State.Intent != vm.WantSuspended {
		return true
	}
	return r.State.Phase == vm.Failed && r.State.Revision > w.after && w.phase&(vm.Failed|vm.Stopped) == 0 && !w.removed
}

func notBefore(w wanted, r vm.Record) *vm.Refusal {
	why, try := "it was given up: "+r.State.Reason, fmt.Sprintf("blixard vm explain %s, then blixard vm reset %s", r.Spec.Name, r.Spec.Name)
	if r.State.Phase != vm.Failed {
		why, try = r.State.Reason, fmt.Sprintf("blixard vm explain %s", r.Spec.Name)
	}
	return &vm.Refusal{
		Code: vm.WrongPhase, Why: fmt.Sprintf("%s will not get to %s, %s", r.Spec.Name, w, why),
		Try: try,
	}
}

func (w wanted) String() string {
	switch {
	case w.removed:
		return "phase=removed"
	case w.health == nil:
		return "phase=" + w.phase.String()
	case w.phase == 0:
		return "health=" + w.health.String()
	}
	return "phase=" + w.phase.String() + " and health=" + w.health.String()
}

// wait looks whenever something changed, and so never polls. A short visit of
// a phase between two looks may be missed.
func (d *Door) wait(ctx context.Context, m *blixardv1.WaitVMRequest) (*blixardv1.VM, error) {
	w, err := wantedBy(m)
	if err != nil {
		return nil, err
	}
	limit, err := waitLimit(m)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var last vm.Record
	for {
		again := d.Node.Changed(vm.Name(m.GetName())) // before the look: no change falls between them
		rec, err := d.find(m.GetName())
		if w.removed && last.ID != "" && (err != nil || rec.ID != last.ID) {
			return d.show(ctx, last), nil
		}
		if err != nil {
			return nil, err
		}
		if last.ID != "" && rec.ID != last.ID {
			return nil, noSuchVM(last.Spec.Name) // another VM took the name
		}
		if w.holds(rec) {
			return d.show(ctx, rec), nil
		}
		if w.hopeless(rec) {
			return nil, notBefore(w, rec)
		}
		last = rec
		select {
		case <-again:
		case <-timer.C:
			return nil, timedOut(w, last, limit)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-d.closing:
			return nil, stopping
		}
	}
}

func waitLimit(m *blixardv1.WaitVMRequest) (time.Duration, error) {
	if m.GetTimeout() == nil {
		return defaultWait, nil
	}
	limit := m.GetTimeout().AsDuration()
	if m.GetTimeout().CheckValid() != nil || limit < 0 || limit > maxWait {
		return 0, invalid(fmt.Sprintf("a wait lasts between 0s and %s", vm.Span(maxWait)), "--timeout 30s")
	}
	return limit, nil
}

func timedOut(w wanted, r vm.Record, limit time.Duration) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.TimedOut,
		Why: fmt.Sprintf("%s did not get to %s within %s: it is %s with health %s (%s)",
			r.Spec.Name, w, vm.Span(limit), r.State.Phase, r.State.Health, r.State.Reason),
		Try: fmt.Sprintf("blixard vm explain %s", r.Spec.Name),
	}
}

// WaitVM answers when the VM is as asked.
func (d *Door) WaitVM(ctx context.Context, r *connect.Request[blixardv1.WaitVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.wait(ctx, r.Msg))
}
