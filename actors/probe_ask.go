package actors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// sight is what one round saw.
type sight struct {
	ok      bool
	certain bool
	detail  string
	dropped string // why it says nothing about the guest
	told    bool   // the guest itself has said it, and in time: no slowness of the host makes that up
	late    bool   // nobody answered in the time of the round
	aside   string // of one that is late: what else was seen of the VMM
	glance  vm.Glance

	processors processors
	since      *glanced // the look of an earlier round by which it fails; nil: this one's own say all
}

func saw(detail string, err error) sight {
	if err != nil {
		return sight{detail: err.Error(), late: errors.Is(err, context.DeadlineExceeded)}
	}
	return sight{ok: true, detail: detail}
}

// unproved is a round in which something of ours stood in the way.
func unproved(why string) sight { return sight{dropped: why} }

// asking is the question of one round. What it returns runs off the mailbox.
func (p *probeActor) asking(m goAhead) func(ctx context.Context) sight {
	c, ports := &p.check, &p.env.ports // by reference: a copy of either would be garbage of each round
	switch c.Type {
	case vm.CheckProcess:
		before := p.glance
		return func(context.Context) sight { return p.seen(m.process, before) }
	case vm.CheckVMM:
		if m.deaf {
			return func(context.Context) sight { return unproved(policies.NotHeard) }
		}
		before := p.processors
		return func(ctx context.Context) sight { return p.progress(ctx, m, before) }
	case vm.CheckAgent:
		return p.withAgent(func(ctx context.Context, conn host.AgentConn) sight { return saw("", p.alive(conn, conn.Ping(ctx))) })
	case vm.CheckExec:
		return p.withAgent(func(ctx context.Context, conn host.AgentConn) sight { return p.exec(ctx, conn, m.ready) })
	case vm.CheckGuestProcess:
		return p.withAgent(func(ctx context.Context, conn host.AgentConn) sight { return p.count(ctx, conn, m.ready) })
	case vm.CheckTCP:
		return reaching(ports.Reach, func(ctx context.Context) (string, error) { return "", ports.Reach.Connect(ctx, c.Address) })
	case vm.CheckHTTP:
		return reaching(ports.Reach, func(ctx context.Context) (string, error) { return ports.Reach.Get(ctx, *c) })
	case vm.CheckConsole:
		return p.sending()
	}
	return func(context.Context) sight { return unproved("no such check is known: " + string(c.Type)) }
}

// seen looks at the VMM's process.
func (p *probeActor) seen(process *vm.Process, before vm.Glance) sight {
	meter := p.env.ports.Meter
	if meter == nil || process == nil {
		return unproved("nobody can look at its VMM's process")
	}
	g, err := meter.Look(*process)
	if err != nil {
		return saw("", err)
	}
	why, certain := policies.AtWork(g, before)
	return sight{ok: why == "", detail: why, certain: certain, glance: g}
}

var errNoSession = errors.New("no session")

// withAgent asks over the one connection that the incarnation has.
func (p *probeActor) withAgent(ask func(context.Context, host.AgentConn) sight) func(context.Context) sight {
	return func(ctx context.Context) sight {
		conn, err := p.agent(ctx)
		if err != nil {
			return saw("", err)
		}
		return ask(ctx, conn)
	}
}

// run runs a command in the guest. One that boots is waited for first: what is
// sent to an agent that isn't up is run when it is, however long nobody waits.
func (p *probeActor) run(ctx context.Context, conn host.AgentConn, ready bool, argv []string) (host.ExecResult, error) {
	if !ready {
		if err := p.alive(conn, conn.Ping(ctx)); err != nil {
			return host.ExecResult{}, err
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.check.Timeout)
		defer cancel()
	}
	result, err := conn.Exec(ctx, argv)
	return result, p.alive(conn, err)
}

// alive lets go of a connection that is dead: the next round opens it anew.
func (p *probeActor) alive(conn host.AgentConn, err error) error {
	if host.KindOf(err) == host.Gone {
		p.drop(conn)
	}
	return err
}

func (p *probeActor) exec(ctx context.Context, conn host.AgentConn, ready bool) sight {
	result, err := p.run(ctx, conn, ready, p.check.Command)
	if err == nil && result.Code != p.check.Exit {
		err = fmt.Errorf("%.80q ended with %d, wanted %d%s", p.check.Command[0], result.Code, p.check.Exit, said(result))
	}
	return saw("", err)
}

// said is a command's last word on why it failed.
func said(r host.ExecResult) string {
	for _, b := range [][]byte{r.Stderr, r.Stdout} {
		if line := strings.TrimSpace(string(b[:min(len(b), 160)])); line != "" {
			return ": " + line
		}
	}
	return ""
}

// count asks how many processes of a name the guest has. pgrep exits with 1
// where there is none, and says 0.
func (p *probeActor) count(ctx context.Context, conn host.AgentConn, ready bool) sight {
	result, err := p.run(ctx, conn, ready, []string{"pgrep", "-c", "-x", p.check.Process})
	if err != nil {
		return saw("", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(result.Stdout)))
	if err != nil || result.Code > 1 {
		return sight{detail: fmt.Sprintf("pgrep ended with %d%s", result.Code, said(result))}
	}
	if want := max(1, p.check.AtLeast); n < want {
		return sight{told: true, detail: fmt.Sprintf("%s: %d run, at least %d wanted", p.check.Process, n, want)}
	}
	return sight{ok: true, detail: fmt.Sprintf("%d run", n)}
}

// reaching asks over the network. Where this machine itself stands in the way,
// nothing is proved.
func reaching(by host.Reach, ask func(context.Context) (string, error)) func(context.Context) sight {
	return func(ctx context.Context) sight {
		if by == nil {
			return unproved("nobody asks over the network here")
		}
		seen, err := ask(ctx)
		if kind := host.KindOf(err); kind == host.Denied || kind == host.Broken {
			return unproved("this machine can't ask: " + err.Error())
		}
		return saw(seen, err)
	}
}
