package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

// noon is when every transcript plays.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(-d)) }

// fakeNode answers with VMs that are always the same: web runs, db waits for
// its next try, bad was given up, evil writes to terminals.
type fakeNode struct {
	blixardv1connect.UnimplementedNodeHandler
	mood string // see fakeBoot; empty: the node's boot is long ago
}

// startNode serves a fakeNode and returns the path of its socket.
func startNode(t testing.TB) string {
	t.Helper()
	return startNodeOf(t, "")
}

func startNodeOf(t testing.TB, mood string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return serveNode(t, filepath.Join(dir, "s"), mood)
}

func serveNode(t interface {
	Fatal(...any)
	Cleanup(func())
}, path string, mood ...string,
) string {
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(blixardv1connect.NewNodeHandler(fakeNode{mood: strings.Join(mood, "")}))
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: mux, Protocols: &protocols}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return path
}

func fakeVM(name string) *blixardv1.VM {
	spec := vm.Spec{Name: vm.Name(name)}.Filled()
	v := &blixardv1.VM{
		Name: name, Uid: "00000000000000aa", Intent: "running", Phase: "running", Health: "healthy", Reason: "the guest answered",
		Incarnation: 3, Revision: 17, Pid: proto.Int32(4711), Launcher: "process", Unit: "blixard-" + name + "-3",
		StartedAt: ago(192 * time.Second), PhaseSince: ago(190 * time.Second), CreatedAt: ago(50 * time.Hour),
		HealthWhy: "guest-agent: answers", Spec: messages.SpecToProto(spec),
		Restarts:    &blixardv1.Restarts{Count: 2, InWindow: 1, Budget: 5, Window: durationpb.New(10 * time.Minute), Remaining: 4},
		Reservation: &blixardv1.Reservation{Cpus: 1, MemoryBytes: int64(192 * vm.MiB), DiskBytes: int64(vm.GiB)},
		Probes:      []*blixardv1.Probe{fakeProbe("guest-agent", "guest-agent", "liveness")},
		LastExit: &blixardv1.LastExit{
			Cause: "vmm-crash", Evidence: "killed by signal 9", Signal: 9, At: ago(193 * time.Second), Charged: true, Incarnation: 2, Crash: 2,
			Decision: &blixardv1.Decision{Do: "backoff", Why: "failure 1 of 5 in 10m"},
		},
	}
	switch name {
	case "db":
		v.Phase, v.Health, v.Reason, v.Pid, v.StartedAt = "backoff", "unknown", "waits for its next try", nil, nil
		v.Deadline = timestamppb.New(noon.Add(4 * time.Second))
		v.Restarts.NextRetryAt, v.Restarts.Delay = v.GetDeadline(), durationpb.New(8*time.Second)
	case "queue":
		v.Phase, v.Health, v.Reason, v.Pid, v.StartedAt = "backoff", "unknown", "waits for its turn after the node's boot", nil, nil
		v.Queued, v.LastExit.Cause, v.LastExit.Evidence, v.LastExit.Signal = true, "host-reboot", "the node booted anew", 0
		v.LastExit.Decision = &blixardv1.Decision{Do: "enqueue", Why: "it was wanted up"}
		v.LastExit.Result, v.LastExit.MemoryPeakBytes, v.LastExit.CpuTime = "oom-kill", int64(200*vm.MiB), durationpb.New(12300*time.Millisecond)
		v.Spec.Networks = []*blixardv1.Network{{Mode: "bridge", Bridge: "br0", Mtu: 1400}, {Mode: "user", Mac: "52:54:00:12:34:56"}}
		v.Spec.Boot = &blixardv1.Boot{Flake: "/srv/vms#queue"}
		v.Spec.Autostart.Priority = 10
		v.Spec.Autostart.DependsOn = []*blixardv1.Dependency{{Vm: "db", Is: "healthy", Timeout: durationpb.New(2 * time.Minute)}}
	case "bad":
		v.Phase, v.Health, v.Reason, v.Pid, v.StartedAt = "failed", "unknown", "gave up: 6 failures in 10m, 5 are allowed", nil, nil
	case "sick":
		sicken(v)
	case "evil":
		v.LastExit.Evidence = "panic\x1b]0;owned\x07\n\u202eline two\u009b2J"
		v.Reason = "\x1b[31mred"
	}
	return v
}

func fakeNames() []string { return []string{"bad", "db", "evil", "web"} }

// named is a VM, or the daemon's refusal.
func named(name string) (*connect.Response[blixardv1.VM], error) {
	for _, one := range append(fakeNames(), "queue", "sick") {
		if one == name {
			return connect.NewResponse(fakeVM(name)), nil
		}
	}
	return nil, refuse(vm.NotFound, "blixard vm list", "there is no VM named %q", name)
}

func refuse(code vm.Code, try, why string, args ...any) error {
	return messages.RefusalToError(&vm.Refusal{Code: code, Why: fmt.Sprintf(why, args...), Try: try})
}

func (fakeNode) CreateVM(_ context.Context, r *connect.Request[blixardv1.CreateVMRequest]) (*connect.Response[blixardv1.VM], error) {
	name := r.Msg.GetSpec().GetName()
	if _, err := named(name); err == nil {
		return nil, refuse(vm.Exists, "another name, or blixard apply", "there is a VM named %q already", name)
	}
	if r.Msg.GetSpec().GetMemoryBytes() > int64(vm.GiB) {
		return nil, refuse(vm.NoRoom, "stop a VM, or lower its memory", "needs 2GiB, 380MiB are left for guests")
	}
	v := fakeVM(name)
	v.Phase, v.Intent = "stopped", "stopped"
	if r.Msg.GetStart() {
		v.Phase, v.Intent = "preparing", "running"
	}
	return connect.NewResponse(v), nil
}

func (fakeNode) StartVM(_ context.Context, r *connect.Request[blixardv1.StartVMRequest]) (*connect.Response[blixardv1.VM], error) {
	res, err := named(r.Msg.GetName())
	if err == nil && r.Msg.GetName() != "web" {
		res.Msg.Phase = "preparing"
	}
	return res, err
}

func (fakeNode) StopVM(_ context.Context, r *connect.Request[blixardv1.StopVMRequest]) (*connect.Response[blixardv1.VM], error) {
	res, err := named(r.Msg.GetName())
	if err == nil {
		res.Msg.Phase, res.Msg.Intent = "stopping", "stopped"
	}
	return res, err
}

func (fakeNode) DeleteVM(_ context.Context, r *connect.Request[blixardv1.DeleteVMRequest]) (*connect.Response[blixardv1.VM], error) {
	if !r.Msg.GetForce() {
		return nil, refuse(vm.WrongPhase, "blixard vm delete --force "+r.Msg.GetName(), "%s is running", r.Msg.GetName())
	}
	res, err := named(r.Msg.GetName())
	if err == nil {
		res.Msg.Phase, res.Msg.Intent = "killing", "removed"
	}
	return res, err
}

// WaitVM knows the end of each story: bad is given up, the phase "removed" is no VM.
func (fakeNode) WaitVM(_ context.Context, r *connect.Request[blixardv1.WaitVMRequest]) (*connect.Response[blixardv1.VM], error) {
	res, err := named(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	want := r.Msg.GetPhase()
	switch {
	case want == res.Msg.GetPhase(), want == "stopped":
		res.Msg.Phase = want
		return res, nil
	case want == "removed":
		return nil, refuse(vm.NotFound, "", "there is no VM named %q", r.Msg.GetName())
	case want == "" && r.Msg.GetHealth() == res.Msg.GetHealth():
		return res, nil
	}
	if r.Msg.GetName() == "bad" {
		return nil, refuse(vm.WrongPhase, "blixard vm explain bad", "bad will not get to phase=%s, it was given up: 6 failures in 10m, 5 are allowed", want)
	}
	return nil, refuse(vm.TimedOut, "blixard vm explain "+r.Msg.GetName(), "%s is %s, not %s, after 30s", r.Msg.GetName(), res.Msg.GetPhase(), want)
}

func (n fakeNode) GetVM(_ context.Context, r *connect.Request[blixardv1.GetVMRequest]) (*connect.Response[blixardv1.VM], error) {
	res, err := named(r.Msg.GetName())
	if err == nil {
		n.use(res.Msg)
	}
	return res, err
}

func (n fakeNode) ListVMs(context.Context, *connect.Request[blixardv1.ListVMsRequest]) (*connect.Response[blixardv1.ListVMsResponse], error) {
	res := &blixardv1.ListVMsResponse{}
	for _, name := range fakeNames() {
		res.Vms = append(res.Vms, n.use(fakeVM(name)))
	}
	if n.mood == booting {
		res.Vms = append(res.Vms, fakeVM("queue"))
	}
	return connect.NewResponse(res), nil
}

func (n fakeNode) Apply(_ context.Context, r *connect.Request[blixardv1.ApplyRequest]) (*connect.Response[blixardv1.ApplyResponse], error) {
	res := &blixardv1.ApplyResponse{Action: "created"}
	if is, err := named(r.Msg.GetSpec().GetName()); err == nil {
		res.Vm = is.Msg
		res.Action, res.Changes = "changed", []string{"memory: 128MiB -> 256MiB"}
		res.Waits = is.Msg.GetPid() != 0
		res.Later = []string{"memory"}
		if len(r.Msg.GetSpec().GetRemedies()) > 0 {
			res.Changes, res.Now, res.Forgives = append(res.Changes, "health[bt]: new", `remedies[0].do: new -> "restart"`), []string{"health", "remedies"}, true
		}
		if held := is.Msg.GetPhase() == "backoff" || is.Msg.GetPhase() == "failed"; held && !r.Msg.GetDryRun() {
			is.Msg.Phase = "preparing"
		}
	}
	if r.Msg.GetDryRun() {
		needs, err := n.fakeNeeds(r.Msg.GetSpec())
		if err != nil {
			return nil, err
		}
		held := res.GetVm().GetReservation()
		res.Needs, res.Takes = needs, &blixardv1.Amount{
			Cpus: float64(needs.GetCpus() - held.GetCpus()), MemoryBytes: needs.GetMemoryBytes() - held.GetMemoryBytes(), DiskBytes: needs.GetDiskBytes() - held.GetDiskBytes(),
		}
	}
	return connect.NewResponse(res), nil
}

func (fakeNode) ExplainVM(_ context.Context, r *connect.Request[blixardv1.ExplainVMRequest]) (*connect.Response[blixardv1.Explanation], error) {
	res, err := named(r.Msg.GetName())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&blixardv1.Explanation{
		Vm: res.Msg, State: "backoff: the VMM crashed", Next: "incarnation 4 is launched", NextAt: timestamppb.New(noon.Add(4 * time.Second)),
		Rule: "delay: 1s × 2^3",
	}), nil
}

func (fakeNode) ListCrashes(_ context.Context, r *connect.Request[blixardv1.ListCrashesRequest]) (*connect.Response[blixardv1.ListCrashesResponse], error) {
	return connect.NewResponse(&blixardv1.ListCrashesResponse{Crashes: []*blixardv1.Crash{fakeCrash()}}), nil
}

func (fakeNode) GetCrash(_ context.Context, r *connect.Request[blixardv1.GetCrashRequest]) (*connect.Response[blixardv1.GetCrashResponse], error) {
	if r.Msg.GetNumber() != 2 {
		return nil, refuse(vm.NotFound, "blixard vm crashes web", "%s has no crash %d", r.Msg.GetName(), r.Msg.GetNumber())
	}
	return connect.NewResponse(&blixardv1.GetCrashResponse{
		Crash: fakeCrash(), ConsoleTail: []byte("boot\r\n\x1b[2JKernel panic\r\n"), Evidence: fakeEvidence(),
	}), nil
}

func fakeCrash() *blixardv1.Crash {
	return &blixardv1.Crash{
		Number: 2, Incarnation: 2, Cause: "guest-panic", Evidence: "Kernel panic - not syncing: \x1b[5mattempted to kill init", At: ago(time.Hour),
		Ready: true, Confidence: "certain", BundleBytes: int64(20*vm.MiB + 70*vm.KiB), Dump: true, ExitCode: proto.Int32(0), Result: "core-dump", CpuTime: durationpb.New(12300 * time.Millisecond), Uptime: durationpb.New(75 * time.Second),
		Decision: &blixardv1.Decision{Do: "backoff", Charged: true, Rule: "delay", Why: "failure 1 of 5 in 10m, waits 1s"},
	}
}

func (fakeNode) Logs(_ context.Context, r *connect.Request[blixardv1.LogsRequest], s *connect.ServerStream[blixardv1.LogsChunk]) error {
	if _, err := named(r.Msg.GetName()); err != nil {
		return err
	}
	at := int64(0)
	for _, part := range []string{"Linux\r\nhost\xc3", "\xa4 login:\x1b[", "31m\r\n"} {
		if err := s.Send(&blixardv1.LogsChunk{Data: []byte(part), Incarnation: 3, Offset: at}); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

func (n fakeNode) WatchEvents(ctx context.Context, r *connect.Request[blixardv1.WatchEventsRequest], s *connect.ServerStream[blixardv1.Event]) error {
	events := []*blixardv1.Event{
		{Sequence: 1, At: ago(time.Minute), Kind: "DaemonStarted", Why: "version v1"},
		{Sequence: 2, At: ago(50 * time.Second), Vm: "web", Kind: "StartAsked", From: "stopped", To: "preparing", Why: "started", By: "uid=0 cli"},
		{Sequence: 3, At: ago(40 * time.Second), Vm: "web", Kind: "VMMGone", From: "running", To: "reaping", Cause: "vmm-crash", Decision: "restart", Why: "sig\x1b[0m\nnal 9"},
	}
	if n.mood == booted {
		events = append(events, fakeEnds()...)
	}
	switch n.mood {
	case flaky:
		events = append(events, fakeTries()...)
	case busy:
		events = append(events, fakeRaised()...)
	}
	for _, e := range events {
		if e.GetSequence() > r.Msg.GetAfter() {
			if err := s.Send(e); err != nil {
				return err
			}
		}
	}
	if n.mood == flaky && r.Msg.GetFollow() {
		<-ctx.Done() // a follower stays until nobody listens
	}
	return nil
}

// Console greets, and gives back what was typed.
func (fakeNode) Console(_ context.Context, s *connect.BidiStream[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]) error {
	first, err := s.Receive()
	if err != nil {
		return err
	}
	if _, err := named(first.GetName()); err != nil {
		return err
	}
	for {
		m, err := s.Receive()
		if err != nil {
			return s.Send(&blixardv1.ConsoleOutput{Data: []byte("bye")})
		}
		if err := s.Send(&blixardv1.ConsoleOutput{Data: []byte(strings.ToUpper(string(m.GetData())))}); err != nil {
			return err
		}
	}
}

func (fakeNode) ExecVM(_ context.Context, r *connect.Request[blixardv1.ExecVMRequest]) (*connect.Response[blixardv1.ExecVMResponse], error) {
	if _, err := named(r.Msg.GetName()); err != nil {
		return nil, err
	}
	if r.Msg.GetName() == "db" {
		return nil, refuse(vm.WrongPhase, "blixard vm start --wait db", "db is backoff, a command needs a running guest")
	}
	res := &blixardv1.ExecVMResponse{Stdout: []byte(strings.Join(r.Msg.GetArgv(), "|") + "\x1b[0m\n")}
	switch r.Msg.GetArgv()[0] {
	case "false":
		res.ExitCode, res.Stderr, res.Truncated = 7, []byte("no\n"), true
	case "killed":
		res.ExitCode = 128 + 9
	case "multiple":
		res.ExitCode = 512
	}
	return connect.NewResponse(res), nil
}

func (fakeNode) Send(_ context.Context, r *connect.Request[blixardv1.SendRequest]) (*connect.Response[blixardv1.SendResponse], error) {
	return connect.NewResponse(&blixardv1.SendResponse{Type: "VM", Json: `{"path":"` + r.Msg.GetPath() + `"}`}), nil
}

func (n fakeNode) NodeStatus(context.Context, *connect.Request[blixardv1.NodeStatusRequest]) (*connect.Response[blixardv1.NodeStatusResponse], error) {
	return connect.NewResponse(n.boot(&blixardv1.NodeStatusResponse{
		Version: "v1", StartedAt: ago(26 * time.Hour), BootId: "b", Launcher: "process", Accel: "tcg", StateDir: "/var/lib/blixard",
		Goroutines: 40, Fds: 12, Vms: 4, Phases: map[string]int32{"running": 2, "backoff": 1, "failed": 1}, LastEvent: 3,
		Health: map[string]int32{"healthy": 2, "unknown": 2}, Broken: []string{"0000000000000001: bad codec"},
	})), nil
}

func (fakeNode) NodeTree(context.Context, *connect.Request[blixardv1.NodeTreeRequest]) (*connect.Response[blixardv1.NodeTreeResponse], error) {
	return connect.NewResponse(&blixardv1.NodeTreeResponse{Actors: []*blixardv1.Actor{
		{Path: "root", State: "running", Since: ago(time.Hour)},
		{Path: "root/fleet", State: "running", Since: ago(time.Hour)},
		{Path: "root/fleet/web", State: "parked", Since: ago(time.Minute), Bugs: 4},
	}}), nil
}

func (fakeNode) NodeDoctor(context.Context, *connect.Request[blixardv1.NodeDoctorRequest]) (*connect.Response[blixardv1.NodeDoctorResponse], error) {
	return connect.NewResponse(&blixardv1.NodeDoctorResponse{Findings: []*blixardv1.Finding{
		{Check: "qemu", State: "ok", Why: "version 7.2"}, {Check: "builtin-image", State: "fail", Why: "there is none", Try: "blixard image build"},
	}}), nil
}
