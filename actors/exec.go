package actors

import (
	"context"
	"fmt"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// exec: gateway → vm/<name> → run-<n>. Answered once, by the goroutine that ran it.
type exec struct {
	ctx   context.Context //nolint:containedctx // of the request: the command ends with it
	argv  []string
	reply chan<- execAnswer
}

type execAnswer struct {
	result host.ExecResult
	err    error
}

// Exec runs a command through the guest agent.
func (n *Node) Exec(ctx context.Context, name vm.Name, argv []string) (host.ExecResult, error) {
	v, r := n.env.seat(name)
	if r != nil {
		return host.ExecResult{}, r
	}
	reply := make(chan execAnswer, 1)
	n.env.tell(v.pid, exec{ctx, argv, reply})
	select {
	case a := <-reply:
		return a.result, a.err
	case <-ctx.Done():
		return host.ExecResult{}, &vm.Refusal{Code: vm.TimedOut, Why: fmt.Sprintf("the agent of %s did not answer in time", name)}
	}
}

// exec passes the command on while there is somebody who could run it.
func (v *vmActor) exec(m exec) {
	if v.rec.State.Phase != vm.Running || v.run == nil {
		m.reply <- execAnswer{err: &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("%s is %s, a command needs a running guest", v.rec.Spec.Name, v.rec.State.Phase),
			Try: comesUp(v.rec.State.Phase) + string(v.rec.Spec.Name),
		}}
		return
	}
	v.env.tell(v.run, m)
}

// comesUp is the command by which a VM in that phase comes to run, but for its name.
func comesUp(p vm.Phase) string {
	switch p { //nolint:exhaustive // the others are down
	case vm.Paused, vm.Suspended:
		return "blixard vm resume --wait "
	case vm.Preparing, vm.Starting, vm.Running, vm.Adopting: // on its way, or attached to in a moment
		return "blixard vm wait --for phase=running "
	case vm.Suspending, vm.Stopping, vm.Killing, vm.Reaping, vm.Removing:
		return "blixard vm explain "
	case vm.Failed:
		return "blixard vm reset --wait "
	}
	return "blixard vm start --wait "
}

func (r *runActor) exec(m exec) {
	owner := r.ctx
	go func() {
		conn, err := r.agentConn(m.ctx, owner)
		if err != nil {
			m.reply <- execAnswer{err: err}
			return
		}
		result, err := conn.Exec(m.ctx, m.argv) //nolint:contextcheck // the request's, which came by message
		if err != nil {
			if host.KindOf(err) == host.Gone {
				r.agent.drop(conn)
				m.reply <- execAnswer{err: &vm.Refusal{
					Code: vm.Unavailable, Why: fmt.Sprintf("%.80q may have run in %s: its agent went away meanwhile", m.argv[0], r.ref.Name),
					Try: fmt.Sprintf("blixard vm explain %s", r.ref.Name),
				}}
				return
			}
			err = &vm.Refusal{
				Code: vm.Unavailable, Why: fmt.Sprintf("%.80q did not run in %s: %v", m.argv[0], r.ref.Name, err),
				Try: "a program that the guest has; for the built-in guest see blixard vm exec --help",
			}
		}
		m.reply <- execAnswer{result, err}
	}()
}
