package main

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// The moods of a fakeNode: where its boot stands, or what is wrong with it.
const (
	booting = "booting"
	booted  = "booted"
	cutOff  = "ended"
	damaged = "damaged"
	flaky   = "flaky"
	wrong   = "wrong"
)

// boot adds to the status what a mood tells.
func (n fakeNode) boot(s *blixardv1.NodeStatusResponse) *blixardv1.NodeStatusResponse {
	switch n.mood {
	case booting:
		s.Bootstrap = &blixardv1.Bootstrap{
			State: "running", BootId: "b", Policy: "restart-healthy", StartedAt: ago(6 * time.Second), EndsAbout: timestamppb.New(noon.Add(9 * time.Second)),
			Limit: 2, Ready: 7, Starting: []string{"queue", "web"}, Pressure: "the processors are waited for 62% of the time, 40% are allowed",
			Waiting: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"}, Held: []string{"bad: was given up: crash 6 in 10m"},
		}
	case booted:
		s.Bootstrap = &blixardv1.Bootstrap{
			State: "done", BootId: "b", Policy: "restart-all", StartedAt: ago(time.Minute), EndedAt: ago(46 * time.Second), Ready: 18, Failed: 1, Limit: 4,
			Held: []string{"bad: was given up: crash 6 in \x1b[31m10m"},
		}
		s.WaitingForPerson = 2
	case cutOff:
		s.Bootstrap = &blixardv1.Bootstrap{
			State: "done", BootId: "b", Policy: "restart-all", StartedAt: ago(time.Minute), EndedAt: ago(46 * time.Second), Ready: 3, Waiting: []string{"queue", "web"},
		}
	case damaged:
		s.SafeMode = "the store is damaged: 000012.sst: checksum mismatch at block 4096; the witness says that 4711 events were written"
		s.LowSpace = "84MiB are free on /var/lib/blixard, 512MiB are wanted"
	case wrong:
		s.WaitingForPerson = 1
	case busy:
		s.Alerts = fakeAlerts()
	}
	return s
}

func (n fakeNode) NodePlan(_ context.Context, r *connect.Request[blixardv1.NodePlanRequest]) (*connect.Response[blixardv1.Plan], error) {
	p := &blixardv1.Plan{At: ago(12 * time.Second)}
	switch n.mood {
	case booting:
		p.At = nil
	case wrong:
		p.Actions = fakeActions()
	}
	if r.Msg.GetFresh() {
		p.At = ago(0)
	}
	return connect.NewResponse(p), nil
}

func fakeActions() []*blixardv1.Action {
	return []*blixardv1.Action{
		{Id: "vmm/00000000000000aa/3", Do: "kill", What: "process 4711 of web-1/3", Vm: "web-1", State: "due", Why: "its record says that incarnation 3 ended, and it lives"},
		{Id: "folder/old", Do: "quarantine", What: "/var/lib/blixard/vms/old", State: "waiting", After: timestamppb.New(noon.Add(4 * time.Minute)), Why: "the folder is of Blixard and of no VM that is known"},
		{Id: "link/bx000003-0", Do: "remove-link", What: "link bx000003-0", State: "person", Why: "its alias names a VM that is unknown; \x1b[2Jit is up and in bridge br0"},
		{Id: "process/812", Do: "report", What: "process 812, qemu-system-x86_64", State: "told", Why: "it has no tags of ours"},
	}
}

func (n fakeNode) ApplyPlan(_ context.Context, r *connect.Request[blixardv1.ApplyPlanRequest]) (*connect.Response[blixardv1.Plan], error) {
	p := &blixardv1.Plan{At: ago(0)}
	if len(r.Msg.GetIds()) == 1 && r.Msg.GetIds()[0] == "nope" {
		return nil, refuse(vm.NotFound, "blixard node plan", "the plan has no action nope")
	}
	if n.mood == wrong {
		p.Actions = fakeActions()[2:3]
		p.Actions[0].State = "done"
		if len(r.Msg.GetIds()) == 0 {
			failed := fakeActions()[0]
			failed.State, failed.Error = "failed", "the process did not end within 10s"
			p.Actions = append(p.Actions, failed)
		}
	}
	return connect.NewResponse(p), nil
}

func (fakeNode) RestoreQuarantined(
	_ context.Context, r *connect.Request[blixardv1.RestoreQuarantinedRequest],
) (*connect.Response[blixardv1.RestoreQuarantinedResponse], error) {
	if r.Msg.GetName() != "old" {
		return nil, refuse(vm.NotFound, "blixard node plan", "nothing named %q is in quarantine", r.Msg.GetName())
	}
	return connect.NewResponse(&blixardv1.RestoreQuarantinedResponse{}), nil
}

func (fakeNode) NodeRepair(context.Context, *connect.Request[blixardv1.NodeRepairRequest]) (*connect.Response[blixardv1.NodeRepairResponse], error) {
	return connect.NewResponse(&blixardv1.NodeRepairResponse{
		Aside: "/var/lib/blixard/store-damaged-20260301T120000", Vms: 4,
		Lines: []string{"db does not run and is taken to be wanted down: start it if it should be up", "the journal begins anew"},
	}), nil
}

// ShutdownNode takes down what runs; in the mood wrong, one stays.
func (n fakeNode) ShutdownNode(_ context.Context, r *connect.Request[blixardv1.ShutdownNodeRequest]) (*connect.Response[blixardv1.ShutdownNodeResponse], error) {
	switch n.mood {
	case wrong:
		return connect.NewResponse(&blixardv1.ShutdownNodeResponse{Stopped: []string{"web"}, Left: []string{"evil"}}), nil
	case booting:
		return connect.NewResponse(&blixardv1.ShutdownNodeResponse{}), nil
	}
	return connect.NewResponse(&blixardv1.ShutdownNodeResponse{Stopped: []string{"web", "evil"}}), nil
}

// fakeEnds is what a journal tells while the node goes down.
func fakeEnds() []*blixardv1.Event {
	return []*blixardv1.Event{
		{Sequence: 4, At: ago(0), Kind: "NodeEnding"},
		{Sequence: 5, At: ago(0), Vm: "web", Kind: "NodeEnding", From: "running", To: "stopping"},
		{Sequence: 6, At: ago(0), Vm: "evil", Kind: "DeadlinePassed", From: "stopping", To: "killing", Why: "it did not power off in 30s\n\x1b[2J"},
		{Sequence: 7, At: ago(0), Vm: "evil", Kind: "ReleasedToBackoff", From: "reaping", To: "backoff"},
		{Sequence: 8, At: ago(0), Vm: "web", Kind: "ReleasedToStop", From: "reaping", To: "stopped"},
		{Sequence: 9, At: ago(0), Vm: "db", Kind: "Woke", From: "backoff", To: "backoff"},
	}
}

// fakeTries is what happens while somebody waits for db.
func fakeTries() []*blixardv1.Event {
	return []*blixardv1.Event{
		{Sequence: 4, At: ago(0), Vm: "db", Kind: "StartAsked", From: "stopped", To: "preparing", Why: "started", By: "uid=0 cli"},
		{Sequence: 5, At: ago(0), Vm: "db", Kind: "ExitedCrash", From: "starting", To: "reaping", Cause: "guest-panic", Decision: "backoff", Why: "guest-panic: Kernel panic\n\x1b[31m: failure 1 of 5 in 10m, the next try is in 1s"},
		{Sequence: 6, At: ago(0), Vm: "web", Kind: "ExitedCrash", From: "running", To: "reaping", Cause: "vmm-crash", Decision: "restart", Why: "vmm-crash: signal 9: restarting now"},
		{Sequence: 7, At: ago(0), Vm: "db", Kind: "DeadlinePassed", From: "stopping", To: "killing", Why: "stopping took too long"},
		{Sequence: 8, At: ago(0), Vm: "db", Kind: "KillConfirmed", From: "killing", To: "reaping", Cause: "killed-by-us", Decision: "stay-down", Why: "killed-by-us: it was asked down"},
		{Sequence: 1234567, At: ago(0), Vm: "evil", Kind: "DeadlinePassed", From: "starting", To: "killing", Cause: "start-failed-transient", Decision: "give-up", Why: "start-failed-transient: still starting after 2m: crash 6 in 10m, the budget allows 5"},
	}
}
