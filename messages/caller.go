package messages

import "context"

// ClientHeader is the request header in which a client says its name ("cli", a
// plugin's). It is a courtesy for the journal, never a proof.
const ClientHeader = "Blixard-Client"

// Peer is who is at the other end of a connection, as the kernel told it when
// the connection was made.
type Peer struct {
	Caller Caller // without role and name: the gateway gives those
	Groups []int  // supplementary groups
}

type peerKey struct{}

// WithPeer puts a connection's peer into the context of its requests.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom returns the peer; false: the connection is not one whose peer the kernel knows.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

var roleNames = [...]string{NoRole: "none", Viewer: "viewer", Operator: "operator", Admin: "admin"}

// String is the role's name in the configuration.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return "none"
}
