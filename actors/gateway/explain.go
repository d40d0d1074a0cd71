package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func (d *Door) explain(ctx context.Context, m *blixardv1.ExplainVMRequest) (*blixardv1.Explanation, error) {
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	// Status is answered while the store misbehaves, without its history (P11).
	crashes, err := d.Journal.Crashes(rec.ID, 5)
	e := policies.Explain(d.Now(), rec, crashes)
	if err != nil {
		e.Tried += " (the crash history can't be read now)"
	}
	if why := awaited(rec); why != "" {
		e.Seen = strings.TrimPrefix(e.Seen+"; "+why, "; ")
	}
	e.Next += d.turnOf(rec) + d.strangers(rec)
	return &blixardv1.Explanation{
		Vm: d.show(ctx, rec), State: messages.Text(e.State), Since: messages.Stamp(e.Since), Seen: messages.Text(e.Seen),
		Tried: messages.Text(e.Tried), Next: messages.Text(e.Next), NextAt: messages.Stamp(e.NextAt),
		Rule: messages.Text(e.Rule), Can: e.Can,
	}, nil
}

// turnOf is where a VM stands in the queue of the node's boot, which its record
// doesn't know.
func (d *Door) turnOf(rec vm.Record) string {
	if !rec.State.Queued {
		return ""
	}
	b := d.Node.Status().Bootstrap
	at := slices.Index(b.Waiting, rec.Spec.Name)
	if at < 0 {
		return ""
	}
	out := fmt.Sprintf("; it is number %d of %d that wait, %d are starting, at most %d may", at+1, len(b.Waiting), len(b.Starting), b.Limit)
	if b.Pressure != "" {
		out += "; nothing more is started now: " + b.Pressure
	}
	return out
}

// strangers is whom a VM depends on though nobody is called that: a name that
// was misspelt, or a VM that is yet to come.
func (d *Door) strangers(rec vm.Record) string {
	var out []string
	for _, dep := range rec.Spec.Autostart.DependsOn {
		if _, exists := d.Node.Get(dep.VM); !exists {
			out = append(out, string(dep.VM))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("; it is to wait for %s at a boot of the node, but there is no VM of that name, so it starts without", strings.Join(out, " and "))
}

// awaited is what a guest has to show before it counts as up: while that is
// waited for, and where it did not come in time.
func awaited(rec vm.Record) string {
	s := rec.State
	late := s.LastExit != nil && s.LastExit.Failure.Incarnation == s.Incarnation && !s.LastExit.Failure.Ready &&
		s.LastExit.Failure.Cause == vm.CauseStartTransient && !s.LaunchedAt.IsZero()
	if s.Phase != vm.Starting && !late {
		return ""
	}
	var signs []string
	for _, c := range rec.Spec.Health {
		switch {
		case !c.Critical(): // it is asked only afterwards
		case c.Type != vm.CheckConsole:
			signs = append(signs, fmt.Sprintf("the check %s passes", policies.Title(c)))
		case c.Healthy != "":
			signs = append(signs, fmt.Sprintf("the console matches %q", c.Healthy))
		}
	}
	if len(signs) == 0 {
		return ""
	}
	return "it counts as up once " + strings.Join(signs, " and ")
}

// ExplainVM tells the story of a VM's state.
func (d *Door) ExplainVM(ctx context.Context, r *connect.Request[blixardv1.ExplainVMRequest]) (*connect.Response[blixardv1.Explanation], error) {
	return answer(d.explain(ctx, r.Msg))
}
