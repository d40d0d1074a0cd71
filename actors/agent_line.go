package actors

import (
	"context"
	"sync"

	"github.com/blixard/blixard/host"
)

// agentLine is the one connection of a run actor to its guest's agent: the
// agent's socket takes one client, so a second one would wait for the first to
// end, and its pings would be missed by nobody but the guest, who is killed for
// it. Whoever comes first opens it, off the mailbox.
type agentLine struct {
	mu   sync.Mutex
	conn host.AgentConn
}

// drop closes a connection that is dead; who comes next opens another.
func (l *agentLine) drop(conn host.AgentConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn && conn != nil {
		conn.Close()
		l.conn = nil
	}
}

// cut ends the connection, and with it what waits for an answer that will never
// come: the guest that was asked is gone.
func (l *agentLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// agentConn returns the connection that is open, or opens one that ends with this actor.
func (r *runActor) agentConn(ctx, owner context.Context) (host.AgentConn, error) {
	r.agent.mu.Lock()
	defer r.agent.mu.Unlock()
	if r.agent.conn != nil {
		return r.agent.conn, nil
	}
	opened, err := r.env.ports.Agent.Open(ctx, r.paths)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(owner, opened.Close)
	r.agent.conn = opened
	return opened, nil
}
