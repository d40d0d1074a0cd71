package gateway

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// askTimeout bounds an ask on our side too: a turn is one synced write.
const askTimeout = 30 * time.Second

// ask gives the request to its VM's actor, and answers when the turn is durable.
func (d *Door) ask(ctx context.Context, m proto.Message) (*blixardv1.VM, error) {
	said, event, _ := messages.AskOf(m)
	name, err := vm.ParseName(said)
	if err != nil {
		return nil, err
	}
	rec, err := d.askVM(ctx, name, messages.Ask{Event: event, By: callerOf(ctx)})
	if err != nil {
		return nil, err
	}
	return d.show(ctx, rec), nil
}

func (d *Door) askVM(ctx context.Context, name vm.Name, a messages.Ask) (vm.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return d.Node.Ask(ctx, name, a)
}

// specOf reads, fills and checks a spec.
func specOf(p *blixardv1.VMSpec) (vm.Spec, error) {
	s, err := messages.SpecFromProto(p)
	if err != nil {
		return vm.Spec{}, err
	}
	if no := refuseRedacted(p); no != nil {
		return vm.Spec{}, no
	}
	if _, err := vm.ParseName(string(s.Name)); err != nil {
		return vm.Spec{}, err
	}
	s = s.Filled()
	if err := s.Check(); err != nil {
		return vm.Spec{}, err
	}
	return s, nil
}

func (d *Door) create(ctx context.Context, m *blixardv1.CreateVMRequest) (*blixardv1.VM, error) {
	s, err := specOf(m.GetSpec())
	if err != nil {
		return nil, err
	}
	rec, err := d.createVM(ctx, s, m.GetStart())
	if err != nil {
		return nil, err
	}
	return d.show(ctx, rec), nil
}

func (d *Door) createVM(ctx context.Context, s vm.Spec, start bool) (vm.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return d.Node.Create(ctx, messages.Create{Spec: s, Start: start, By: callerOf(ctx)})
}

// What Apply did, or would do.
const (
	created   = "created"
	changed   = "changed"
	unchanged = "unchanged"
)

func (d *Door) apply(ctx context.Context, m *blixardv1.ApplyRequest) (*blixardv1.ApplyResponse, error) {
	s, err := specOf(m.GetSpec())
	if err != nil {
		return nil, err
	}
	if _, exists := d.Node.Get(s.Name); !exists {
		if m.GetDryRun() {
			return d.needs(ctx, &blixardv1.ApplyResponse{Action: created}, vm.Record{}, s)
		}
		rec, err := d.createVM(ctx, s, m.GetStart())
		if err == nil {
			return &blixardv1.ApplyResponse{Action: created, Vm: d.show(ctx, rec)}, nil
		}
		// Somebody else was faster: then it is a change.
		if r, ok := errors.AsType[*vm.Refusal](err); !ok || r.Code != vm.Exists {
			return nil, err
		}
	}
	rec, ok := d.Node.Get(s.Name)
	if !ok {
		return nil, noSuchVM(s.Name)
	}
	return d.change(ctx, rec, s, m)
}

func (d *Door) change(ctx context.Context, rec vm.Record, s vm.Spec, m *blixardv1.ApplyRequest) (*blixardv1.ApplyResponse, error) {
	out := &blixardv1.ApplyResponse{Action: unchanged, Changes: differences(messages.SpecToProto(rec.Spec), messages.SpecToProto(s))}
	by, err := callerOf(ctx), error(nil)
	if err := s.Follows(rec.Spec); err != nil {
		return nil, err
	}
	if len(out.Changes) > 0 || !proto.Equal(messages.SpecToProto(rec.Spec), messages.SpecToProto(s)) {
		out.Action = changed
		out.Forgives = policies.Remembers(d.Now(), rec)
		out.Waits = !s.Launches(rec.Spec) && policies.WithSpec(rec, s, rec.Reservation).State.Pending
		now := messages.SpecToProto(atOnce(rec.Spec, s))
		out.Now, out.Later = fields(differences(messages.SpecToProto(rec.Spec), now)), fields(differences(now, messages.SpecToProto(s)))
	}
	if out.Action == changed && !m.GetDryRun() {
		if rec, err = d.askVM(ctx, s.Name, messages.Ask{Event: vm.SpecAsked, By: by, Spec: &s}); err != nil {
			return nil, err
		}
	}
	if m.GetStart() && !m.GetDryRun() && rec.State.Intent != vm.WantRunning {
		if rec, err = d.askVM(ctx, s.Name, messages.Ask{Event: vm.StartAsked, By: by}); err != nil {
			return nil, err
		}
	}
	out.Vm = d.show(ctx, rec)
	if m.GetDryRun() && out.Action == changed {
		return d.needs(ctx, out, rec, s)
	}
	return out, nil
}

// needs completes the answer of a dry run, which is a refusal where there is no
// room. rec is the VM as it is; empty: it would be created.
func (d *Door) needs(ctx context.Context, out *blixardv1.ApplyResponse, rec vm.Record, s vm.Spec) (*blixardv1.ApplyResponse, error) {
	r, err := d.Node.Needs(s)
	if err != nil {
		return nil, err
	}
	out.Needs = messages.ReservationToProto(r)
	would, had := r, vm.Reservation{}
	if rec.ID != "" {
		then := policies.WithSpec(rec, s, r)
		would, had = then.Holds(), rec.Holds()
	}
	out.Takes = &blixardv1.Amount{
		Cpus: float64(would.CPUs - had.CPUs), MemoryBytes: int64(would.Memory - had.Memory), DiskBytes: int64(would.Disk - had.Disk),
	}
	node, err := d.Node.Resources(ctx, false)
	if err != nil {
		return nil, err
	}
	left := messages.ResourcesToProto(node).GetFree()
	left.Cpus -= out.Takes.GetCpus()
	left.MemoryBytes -= out.Takes.GetMemoryBytes()
	left.DiskBytes -= out.Takes.GetDiskBytes()
	out.Left = left
	return out, nil
}

// answer wraps what a method made, for Connect.
func answer[T any](m *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(m), nil
}

// CreateVM makes a VM.
func (d *Door) CreateVM(ctx context.Context, r *connect.Request[blixardv1.CreateVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.create(ctx, r.Msg))
}

// Apply creates a VM or gives it a new spec.
func (d *Door) Apply(ctx context.Context, r *connect.Request[blixardv1.ApplyRequest]) (*connect.Response[blixardv1.ApplyResponse], error) {
	return answer(d.apply(ctx, r.Msg))
}

// StartVM wants a VM up.
func (d *Door) StartVM(ctx context.Context, r *connect.Request[blixardv1.StartVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// StopVM wants a VM down.
func (d *Door) StopVM(ctx context.Context, r *connect.Request[blixardv1.StopVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// RestartVM ends the incarnation and begins another one.
func (d *Door) RestartVM(ctx context.Context, r *connect.Request[blixardv1.RestartVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// PauseVM stops the vCPUs.
func (d *Door) PauseVM(ctx context.Context, r *connect.Request[blixardv1.PauseVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// ResumeVM lets the vCPUs run.
func (d *Door) ResumeVM(ctx context.Context, r *connect.Request[blixardv1.ResumeVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// SuspendVM saves a guest to the disk and ends its VMM.
func (d *Door) SuspendVM(ctx context.Context, r *connect.Request[blixardv1.SuspendVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// DeleteVM removes a VM.
func (d *Door) DeleteVM(ctx context.Context, r *connect.Request[blixardv1.DeleteVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}

// ResetVM forgives a VM's crashes.
func (d *Door) ResetVM(ctx context.Context, r *connect.Request[blixardv1.ResetVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.ask(ctx, r.Msg))
}
