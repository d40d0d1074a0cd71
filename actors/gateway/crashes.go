package gateway

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const (
	defaultCrashes = 20
	maxCrashes     = 1000
	consoleTail    = 64 << 10 // the last minutes of a guest that panicked
	vmmTail        = 16 << 10
)

func (d *Door) listCrashes(ctx context.Context, m *blixardv1.ListCrashesRequest) (*blixardv1.ListCrashesResponse, error) {
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	limit := int(m.GetLimit())
	if limit == 0 {
		limit = defaultCrashes
	}
	if limit < 0 || limit > maxCrashes {
		return nil, invalid(fmt.Sprintf("limit is %d", limit), fmt.Sprintf("a number between 1 and %d", maxCrashes))
	}
	crashes, err := d.Journal.Crashes(rec.ID, limit)
	if err != nil {
		return nil, err
	}
	out := &blixardv1.ListCrashesResponse{}
	kept, missed := d.kept(ctx, rec)
	for _, c := range crashes {
		out.Crashes = append(out.Crashes, bundled(messages.CrashToProto(c), kept, missed))
	}
	return out, nil
}

func (d *Door) getCrash(ctx context.Context, m *blixardv1.GetCrashRequest) (*blixardv1.GetCrashResponse, error) {
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	newest, n := rec.State.Crashes, m.GetNumber()
	if n == 0 || n > newest {
		return nil, noSuchCrash(rec, n)
	}
	// They come newest first, so the wanted one is the last of this many.
	crashes, err := d.Journal.Crashes(rec.ID, int(min(newest-n+1, maxCrashes)))
	if err != nil {
		return nil, err
	}
	for _, c := range crashes {
		if c.Number == n {
			return d.evidence(ctx, rec, c), nil
		}
	}
	return nil, noSuchCrash(rec, n)
}

func noSuchCrash(rec vm.Record, n uint64) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.NotFound, Why: fmt.Sprintf("%s has no crash %d on record, its last is %d", rec.Spec.Name, n, rec.State.Crashes),
		Try: fmt.Sprintf("blixard vm crashes %s", rec.Spec.Name),
	}
}

// evidence adds what the bundle of the death tells; without one, what the
// incarnation left in its files, which may be gone by now.
func (d *Door) evidence(ctx context.Context, rec vm.Record, c vm.Crash) *blixardv1.GetCrashResponse {
	kept, missed := d.kept(ctx, rec)
	out := &blixardv1.GetCrashResponse{Crash: bundled(messages.CrashToProto(c), kept, missed)}
	if d.Bundles != nil {
		if e, err := d.Bundles.Read(ctx, rec.Ref(), c.Number, consoleTail); err == nil {
			out.Evidence, out.ConsoleTail = messages.EvidenceToProto(e.Bundle), e.Console
			if n := e.Notes; n != nil && len(n.Console) > 0 { // behind a reset; the bundle has all
				out.ConsoleTail = n.Console
			}
			out.VmmTail = e.Stderr[max(0, len(e.Stderr)-vmmTail):]
			return out
		}
	}
	ref := rec.Ref()
	ref.Incarnation = c.Failure.Incarnation
	p := d.Paths(ref)
	out.ConsoleTail, out.VmmTail = d.tail(p, consoleTail), d.tail(host.Paths{Log: p.Stderr}, vmmTail)
	return out
}

// tail is at most n last bytes of p.Log, none where it can't be read.
func (d *Door) tail(p host.Paths, n int) []byte {
	b, err := d.Consoles.Tail(p, n)
	if err != nil {
		return nil
	}
	return b[max(0, len(b)-n):]
}

// ListCrashes shows a VM's deaths, newest first.
func (d *Door) ListCrashes(ctx context.Context, r *connect.Request[blixardv1.ListCrashesRequest]) (*connect.Response[blixardv1.ListCrashesResponse], error) {
	return answer(d.listCrashes(ctx, r.Msg))
}

// GetCrash shows one death with its evidence.
func (d *Door) GetCrash(ctx context.Context, r *connect.Request[blixardv1.GetCrashRequest]) (*connect.Response[blixardv1.GetCrashResponse], error) {
	return answer(d.getCrash(ctx, r.Msg))
}
