package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// How long the node may take for what is asked of it as a whole. A look at the
// host takes well below a second, carrying a plan out kills and removes, a
// repair writes a store.
const (
	lookTime     = time.Minute
	carryOutTime = 5 * time.Minute
	repairTime   = 10 * time.Minute

	defaultWithin = 2 * time.Minute
	maxWithin     = time.Hour
	killTime      = 30 * time.Second // beyond the time given, for the end of what was killed
)

// Bounds of what a request can name; a file's name has at most 255 bytes.
const (
	maxIDs    = 1000
	maxIDSize = 256
	maxName   = 255
)

// whole is the context of what concerns the node as a whole. A caller that goes
// away leaves nothing half done: it goes on, until the limit or the daemon's end.
func (d *Door) whole(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	go func() {
		select {
		case <-d.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// ended says why something of the whole node ended early: the daemon's end is
// no failure of the node's.
func (d *Door) ended(err error) error {
	select {
	case <-d.closing:
		if err != nil {
			return stopping
		}
	default:
	}
	return err
}

func (d *Door) plan(ctx context.Context, m *blixardv1.NodePlanRequest) (*blixardv1.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	p, err := d.Node.Plan(ctx, m.GetFresh())
	if err != nil {
		return nil, err
	}
	return planToProto(p), nil
}

func (d *Door) applyPlan(ctx context.Context, m *blixardv1.ApplyPlanRequest) (*blixardv1.Plan, error) {
	if n := len(m.GetIds()); n > maxIDs {
		return nil, invalid(fmt.Sprintf("it names %d actions, at most %d are read", n, maxIDs), "no ids at all, for all that waits")
	}
	for _, id := range m.GetIds() {
		if id == "" || len(id) > maxIDSize {
			return nil, invalid(fmt.Sprintf("%.60q is no id of an action", id), "blixard node plan")
		}
	}
	by := callerOf(ctx)
	ctx, cancel := d.whole(ctx, carryOutTime)
	defer cancel()
	p, err := d.Node.ApplyPlan(ctx, slices.Clone(m.GetIds()), by)
	if err != nil {
		return nil, d.ended(err)
	}
	return planToProto(p), nil
}

func planToProto(p Plan) *blixardv1.Plan {
	out := &blixardv1.Plan{At: messages.Stamp(p.At), Actions: make([]*blixardv1.Action, 0, len(p.Actions))}
	for _, a := range p.Actions {
		out.Actions = append(out.Actions, &blixardv1.Action{
			Id: messages.Text(a.ID), Do: messages.Text(a.Do), What: messages.Text(a.What), Vm: messages.Text(string(a.VM)),
			Why: messages.Text(a.Why), State: messages.Text(a.State), After: messages.Stamp(a.After), Error: messages.Text(a.Error),
		})
	}
	return out
}

// restore refuses what names another place than one in the quarantine (P8).
func (d *Door) restore(ctx context.Context, m *blixardv1.RestoreQuarantinedRequest) (*blixardv1.RestoreQuarantinedResponse, error) {
	name := m.GetName()
	if name == "" || len(name) > maxName || strings.ContainsAny(name, "/\x00") || name[0] == '.' {
		return nil, invalid(fmt.Sprintf("%.60q is no name of a thing in quarantine", name), "blixard events tells the names")
	}
	by := callerOf(ctx)
	ctx, cancel := d.whole(ctx, carryOutTime)
	defer cancel()
	if err := d.Node.Restore(ctx, name, by); err != nil {
		return nil, d.ended(err)
	}
	return &blixardv1.RestoreQuarantinedResponse{}, nil
}

func (d *Door) repair(ctx context.Context) (*blixardv1.NodeRepairResponse, error) {
	by := callerOf(ctx)
	ctx, cancel := d.whole(ctx, repairTime)
	defer cancel()
	r, err := d.Node.Repair(ctx, by)
	if err != nil {
		return nil, d.ended(err)
	}
	out := &blixardv1.NodeRepairResponse{Aside: messages.Text(r.Aside), Vms: int32(r.VMs)}
	for _, line := range r.Lines {
		out.Lines = append(out.Lines, messages.Text(line))
	}
	return out, nil
}

// down is the set of the phases in which no VMM of ours is left.
const down = vm.AtRest | vm.Removing

func (d *Door) shutdown(ctx context.Context, m *blixardv1.ShutdownNodeRequest) (*blixardv1.ShutdownNodeResponse, error) {
	within := defaultWithin
	if m.GetWithin() != nil {
		within = m.GetWithin().AsDuration()
	}
	if m.GetWithin() != nil && m.GetWithin().CheckValid() != nil || within <= 0 || within > maxWithin {
		return nil, invalid(fmt.Sprintf("a shutdown takes more than 0 s and at most %s", vm.Span(maxWithin)), "--within 2m")
	}
	before, by := d.Node.List(), callerOf(ctx)
	ctx, cancel := d.whole(ctx, within+killTime)
	defer cancel()
	if err := d.Node.Shutdown(ctx, within, by); err != nil {
		return nil, d.ended(err)
	}
	out := &blixardv1.ShutdownNodeResponse{}
	for _, was := range before {
		is, ok := d.Node.Get(was.Spec.Name)
		switch {
		case ok && is.State.Phase&down == 0:
			out.Left = append(out.Left, messages.Text(string(was.Spec.Name)))
		case was.State.Phase&down == 0:
			out.Stopped = append(out.Stopped, messages.Text(string(was.Spec.Name)))
		}
	}
	return out, nil
}

// NodePlan tells what is wrong on the host and what is done about it.
func (d *Door) NodePlan(ctx context.Context, r *connect.Request[blixardv1.NodePlanRequest]) (*connect.Response[blixardv1.Plan], error) {
	return answer(d.plan(ctx, r.Msg))
}

// ApplyPlan does what waits for a person.
func (d *Door) ApplyPlan(ctx context.Context, r *connect.Request[blixardv1.ApplyPlanRequest]) (*connect.Response[blixardv1.Plan], error) {
	return answer(d.applyPlan(ctx, r.Msg))
}

// RestoreQuarantined moves back what was put into quarantine.
func (d *Door) RestoreQuarantined(
	ctx context.Context, r *connect.Request[blixardv1.RestoreQuarantinedRequest],
) (*connect.Response[blixardv1.RestoreQuarantinedResponse], error) {
	return answer(d.restore(ctx, r.Msg))
}

// NodeRepair ends safe mode.
func (d *Door) NodeRepair(ctx context.Context, _ *connect.Request[blixardv1.NodeRepairRequest]) (*connect.Response[blixardv1.NodeRepairResponse], error) {
	return answer(d.repair(ctx))
}

// ShutdownNode stops every VM before the machine goes down.
func (d *Door) ShutdownNode(ctx context.Context, r *connect.Request[blixardv1.ShutdownNodeRequest]) (*connect.Response[blixardv1.ShutdownNodeResponse], error) {
	return answer(d.shutdown(ctx, r.Msg))
}
