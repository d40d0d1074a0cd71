package gateway

import (
	"context"
	"fmt"
	"runtime"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// show is the record with what a policy knows of its budget now.
func (d *Door) show(ctx context.Context, r vm.Record) *blixardv1.VM { return d.showOf(r, d.held(ctx)) }

func (d *Door) showOf(r vm.Record, held map[vm.Name]vm.Bytes) *blixardv1.VM {
	out := messages.VMToProto(r)
	_, inWindow, remaining := policies.Budget(d.Now(), r.Spec.Restart, r.State)
	out.Restarts.InWindow, out.Restarts.Remaining = int32(inWindow), int32(remaining)
	out.Usage = messages.UsageToProto(d.Node.Usage(r.Spec.Name))
	out.Limits = messages.LimitsToProto(d.Node.Limits(r))
	out.Rungs, out.Bundles = rungs(d.Now(), r), d.bundlesOf(r.Spec.Name, held)
	pending(out, r)
	return out
}

// find is the record of a VM that exists.
func (d *Door) find(name string) (vm.Record, error) {
	n, err := vm.ParseName(name)
	if err != nil {
		return vm.Record{}, err
	}
	rec, ok := d.Node.Get(n)
	if !ok {
		return vm.Record{}, noSuchVM(n)
	}
	return rec, nil
}

func noSuchVM(name vm.Name) *vm.Refusal {
	return &vm.Refusal{Code: vm.NotFound, Why: fmt.Sprintf("there is no VM %s", name), Try: "blixard vm list"}
}

func (d *Door) get(ctx context.Context, m *blixardv1.GetVMRequest) (*blixardv1.VM, error) {
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	return d.show(ctx, rec), nil
}

func (d *Door) status() *blixardv1.NodeStatusResponse {
	s := d.Node.Status()
	out := &blixardv1.NodeStatusResponse{
		Version: s.Version, StartedAt: messages.Stamp(s.StartedAt), BootId: string(s.BootID), Launcher: s.Launcher, Accel: s.Accel,
		StateDir: s.StateDir, Goroutines: int32(s.Goroutines), Fds: int32(s.FDs), LastEvent: d.Journal.LastEvent(),
		Phases: map[string]int32{}, Health: map[string]int32{}, Reserved: &blixardv1.Reservation{},
		Bootstrap: bootstrapToProto(s.Bootstrap), SafeMode: messages.Text(s.SafeMode), LowSpace: messages.Text(s.LowSpace),
		WaitingForPerson: int32(s.Waiting),
	}
	out.Alerts = messages.AlertsToProto(s.Alerts)
	for _, why := range s.Broken {
		out.Broken = append(out.Broken, messages.Text(why))
	}
	for _, r := range d.Node.List() {
		out.Vms++
		out.Phases[r.State.Phase.String()]++
		out.Health[r.State.Health.String()]++
		out.Reserved.Cpus += int32(r.Holds().CPUs)
		out.Reserved.MemoryBytes += int64(r.Holds().Memory)
		out.Reserved.DiskBytes += int64(r.Holds().Disk)
	}
	return out
}

func bootstrapToProto(b Bootstrap) *blixardv1.Bootstrap {
	out := &blixardv1.Bootstrap{
		State: or(b.State, "none"), BootId: string(b.BootID), Policy: b.Policy, StartedAt: messages.Stamp(b.StartedAt),
		EndedAt: messages.Stamp(b.EndedAt), EndsAbout: messages.Stamp(b.EndsAbout), Limit: int32(b.Limit),
		Pressure: messages.Text(b.Pressure), Ready: int32(b.Ready), Failed: int32(b.Failed),
	}
	for _, name := range b.Waiting {
		out.Waiting = append(out.Waiting, messages.Text(string(name)))
	}
	for _, name := range b.Starting {
		out.Starting = append(out.Starting, messages.Text(string(name)))
	}
	for _, line := range b.Held {
		out.Held = append(out.Held, messages.Text(line))
	}
	return out
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// GetVM shows one VM.
func (d *Door) GetVM(ctx context.Context, r *connect.Request[blixardv1.GetVMRequest]) (*connect.Response[blixardv1.VM], error) {
	return answer(d.get(ctx, r.Msg))
}

// ListVMs shows all, by name.
func (d *Door) ListVMs(ctx context.Context, _ *connect.Request[blixardv1.ListVMsRequest]) (*connect.Response[blixardv1.ListVMsResponse], error) {
	list := d.Node.List()
	out := &blixardv1.ListVMsResponse{Vms: make([]*blixardv1.VM, 0, len(list))}
	held := d.held(ctx)
	for _, rec := range list {
		out.Vms = append(out.Vms, d.showOf(rec, held))
	}
	return answer(out, nil)
}

// NodeStatus shows the node at a glance.
func (d *Door) NodeStatus(context.Context, *connect.Request[blixardv1.NodeStatusRequest]) (*connect.Response[blixardv1.NodeStatusResponse], error) {
	return answer(d.status(), nil)
}

// NodeTree shows every actor.
func (d *Door) NodeTree(context.Context, *connect.Request[blixardv1.NodeTreeRequest]) (*connect.Response[blixardv1.NodeTreeResponse], error) {
	out := &blixardv1.NodeTreeResponse{}
	for _, a := range d.Node.Tree() {
		out.Actors = append(out.Actors, &blixardv1.Actor{
			Path: a.Path, State: messages.Text(a.State), Since: messages.Stamp(a.Since), Bugs: int32(a.Bugs),
		})
	}
	return answer(out, nil)
}

// NodeDoctor examines the node.
func (d *Door) NodeDoctor(ctx context.Context, _ *connect.Request[blixardv1.NodeDoctorRequest]) (*connect.Response[blixardv1.NodeDoctorResponse], error) {
	out := &blixardv1.NodeDoctorResponse{}
	for _, f := range d.Node.Doctor(ctx) {
		out.Findings = append(out.Findings, &blixardv1.Finding{
			Check: f.Check, State: f.State, Why: messages.Text(f.Why), Try: messages.Text(f.Try),
		})
	}
	return answer(out, nil)
}

// Version says what answers.
func (d *Door) Version(context.Context, *connect.Request[blixardv1.VersionRequest]) (*connect.Response[blixardv1.VersionResponse], error) {
	return answer(&blixardv1.VersionResponse{Version: d.Node.Status().Version, Api: "blixard.v1", Go: runtime.Version()}, nil)
}
