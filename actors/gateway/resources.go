package gateway

import (
	"context"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
)

func (d *Door) resources(ctx context.Context, m *blixardv1.NodeResourcesRequest) (*blixardv1.NodeResourcesResponse, error) {
	r, err := d.Node.Resources(ctx, m.GetFresh())
	if err != nil {
		return nil, err
	}
	out := messages.ResourcesToProto(r)
	out.Bundles = d.bundlesOfAll(ctx)
	return out, nil
}

// NodeResources is what the node has, what is promised of it, and what is used.
func (d *Door) NodeResources(
	ctx context.Context, r *connect.Request[blixardv1.NodeResourcesRequest],
) (*connect.Response[blixardv1.NodeResourcesResponse], error) {
	return answer(d.resources(ctx, r.Msg))
}
