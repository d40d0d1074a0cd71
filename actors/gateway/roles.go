package gateway

import (
	"context"
	"fmt"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// Roles says who may do what. Whoever may open the socket at all is decided by
// its mode and group.
type Roles struct {
	Self   int                   // the daemon's own uid: admin, as root is
	Users  map[int]messages.Role // by uid
	Groups map[int]messages.Role // by gid, primary or supplementary
	Others messages.Role         // everybody else who can open the socket: who is given no role above
}

// Of is the highest role that the peer is given.
func (r Roles) Of(p messages.Peer) messages.Role {
	if p.Caller.UID == 0 || p.Caller.UID == r.Self {
		return messages.Admin
	}
	best := max(r.Users[p.Caller.UID], r.Groups[p.Caller.GID])
	for _, gid := range p.Groups {
		best = max(best, r.Groups[gid])
	}
	if best == messages.NoRole {
		return r.Others
	}
	return best
}

// allow refuses a caller whose role is too low for the method.
func allow(c messages.Caller, name string, m method) *vm.Refusal {
	if c.Role >= m.role {
		return nil
	}
	return &vm.Refusal{
		Code: vm.Denied,
		Why:  fmt.Sprintf("%s needs the role %s, uid %d has the role %s", name, m.role, c.UID, c.Role),
		Try:  "ask the node's administrator for a role, or call as root",
	}
}

type callerKey struct{}

func withCaller(ctx context.Context, c messages.Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// callerOf is who calls; the zero Caller, which has no role, outside of a request.
func callerOf(ctx context.Context) messages.Caller {
	c, _ := ctx.Value(callerKey{}).(messages.Caller)
	return c
}
