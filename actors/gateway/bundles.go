package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const (
	exportChunk  = 256 << 10 // bytes in one message
	defaultDump  = 5 * time.Minute
	longestDump  = time.Hour
	oldestBundle = 100 * 365 * 24 * time.Hour
)

// kept are the bundles of a VM by their number, and why others are missing.
func (d *Door) kept(ctx context.Context, rec vm.Record) (kept map[uint64]vm.KeptBundle, missed map[uint64]string) {
	if d.Bundles == nil {
		return nil, nil
	}
	all, err := d.Bundles.List(ctx, rec.Ref())
	if err != nil { // the records are told of without them
		d.Log.Sugar().Warnw("bundles can't be listed", "vm", rec.Spec.Name, "error", err)
	}
	kept = map[uint64]vm.KeptBundle{}
	for _, k := range all {
		kept[k.Number] = k
	}
	return kept, d.Node.Missed(rec.ID)
}

// bundled adds to a crash what is kept of it.
func bundled(out *blixardv1.Crash, kept map[uint64]vm.KeptBundle, missed map[uint64]string) *blixardv1.Crash {
	if k, ok := kept[out.GetNumber()]; ok {
		out.BundleBytes, out.Dump, out.Core = int64(k.Bytes), k.Dump, k.Core
		return out
	}
	out.NoBundle = messages.Text(missed[out.GetNumber()])
	return out
}

// chunks sends what is written to it.
type chunks struct {
	send func(*blixardv1.CrashChunk) error
	b    []byte
}

func (c *chunks) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		part := min(len(b), exportChunk-len(c.b))
		c.b, b = append(c.b, b[:part]...), b[part:]
		if len(c.b) < exportChunk {
			break
		}
		if err := c.flush(); err != nil {
			return n - len(b), err
		}
	}
	return n, nil
}

func (c *chunks) flush() error {
	if len(c.b) == 0 {
		return nil
	}
	err := c.send(&blixardv1.CrashChunk{Data: c.b})
	c.b = c.b[:0]
	return err
}

func (d *Door) exportCrash(ctx context.Context, m *blixardv1.ExportCrashRequest, send func(*blixardv1.CrashChunk) error) error {
	rec, err := d.find(m.GetName())
	if err != nil {
		return err
	}
	if d.Bundles == nil {
		return noBundle(rec, m.GetNumber(), "this node keeps none")
	}
	if n := m.GetNumber(); n > rec.State.Crashes {
		return noSuchCrash(rec, n)
	}
	out := &chunks{send: send}
	err = d.Bundles.Export(ctx, rec.Ref(), m.GetNumber(), out)
	if host.KindOf(err) == host.Gone {
		return noBundle(rec, m.GetNumber(), d.Node.Missed(rec.ID)[m.GetNumber()])
	}
	return errors.Join(err, out.flush())
}

func noBundle(rec vm.Record, n uint64, why string) *vm.Refusal {
	if why != "" {
		why = ": " + why
	}
	return &vm.Refusal{
		Code: vm.NotFound, Why: fmt.Sprintf("of crash %d of %s no bundle is kept%s", n, rec.Spec.Name, why),
		Try: fmt.Sprintf("blixard vm crashes %s", rec.Spec.Name),
	}
}

// younger says why the bundle of one crash was left.
func younger(rec vm.Record, n uint64, age, than time.Duration) *vm.Refusal {
	return &vm.Refusal{
		Code: vm.NotFound,
		Why:  fmt.Sprintf("the bundle of crash %d of %s is %s old, younger than %s, and was left", n, rec.Spec.Name, vm.Span(age.Round(time.Second)), vm.Span(than)),
		Try:  fmt.Sprintf("blixard vm crashes %s %d --prune", rec.Spec.Name, n),
	}
}

// ExportCrash streams one bundle as a tar archive.
func (d *Door) ExportCrash(ctx context.Context, r *connect.Request[blixardv1.ExportCrashRequest], s *connect.ServerStream[blixardv1.CrashChunk]) error {
	return d.wireError(r.Spec().Procedure, d.exportCrash(ctx, r.Msg, s.Send))
}

func (d *Door) pruneCrashes(ctx context.Context, m *blixardv1.PruneCrashesRequest) (*blixardv1.PruneCrashesResponse, error) {
	recs, err := d.pruned(m)
	if err != nil || d.Bundles == nil {
		return &blixardv1.PruneCrashesResponse{}, err
	}
	age := m.GetOlderThan().AsDuration()
	if age < 0 || age > oldestBundle {
		return nil, invalid(fmt.Sprintf("olderThan is %s", vm.Span(age)), "a time such as 168h")
	}
	if n := m.GetNumber(); n != 0 && n > recs[0].State.Crashes { // with a number, it is of one VM
		return nil, noSuchCrash(recs[0], n)
	}
	now := d.Now()
	out := &blixardv1.PruneCrashesResponse{}
	for _, rec := range recs {
		var left *vm.Refusal
		gone, err := d.Bundles.Prune(ctx, rec.Ref(), func(k vm.KeptBundle) bool {
			if m.GetNumber() != 0 && k.Number != m.GetNumber() {
				return false
			}
			if m.OlderThan != nil && now.Sub(k.At) <= age {
				left = younger(rec, k.Number, now.Sub(k.At), age)
				return false
			}
			return true
		})
		for _, k := range gone {
			out.Pruned = append(out.Pruned, &blixardv1.Pruned{Name: string(rec.Spec.Name), Number: k.Number, Bytes: int64(k.Bytes)})
		}
		switch {
		case err != nil:
			return nil, err
		case m.GetNumber() == 0 || len(gone) > 0:
		case left != nil:
			return nil, left
		default:
			return nil, noBundle(rec, m.GetNumber(), "")
		}
	}
	return out, nil
}

// pruned are the VMs whose bundles are meant.
func (d *Door) pruned(m *blixardv1.PruneCrashesRequest) ([]vm.Record, error) {
	switch {
	case m.GetAll() && (m.GetName() != "" || m.GetNumber() != 0):
		return nil, invalid("it names a VM or a crash, and all", "one of both")
	case m.GetAll():
		return d.Node.List(), nil
	}
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	return []vm.Record{rec}, nil
}

// PruneCrashes removes bundles.
func (d *Door) PruneCrashes(ctx context.Context, r *connect.Request[blixardv1.PruneCrashesRequest]) (*connect.Response[blixardv1.PruneCrashesResponse], error) {
	return answer(d.pruneCrashes(ctx, r.Msg))
}

func (d *Door) dumpVM(ctx context.Context, m *blixardv1.DumpVMRequest) (*blixardv1.DumpVMResponse, error) {
	rec, err := d.find(m.GetName())
	if err != nil {
		return nil, err
	}
	format, limit := vm.DumpFormat(m.GetFormat()), m.GetTimeout().AsDuration()
	switch {
	case format == "":
		format = vm.DumpKdump
	case format != vm.DumpKdump && format != vm.DumpELF:
		return nil, invalid(fmt.Sprintf("the format %.20q is not known", m.GetFormat()), "kdump or elf")
	}
	switch {
	case m.Timeout == nil:
		limit = defaultDump
	case limit <= 0 || limit > longestDump:
		return nil, invalid(fmt.Sprintf("timeout is %s", vm.Span(limit)), fmt.Sprintf("more than 0, and at most %s", vm.Span(longestDump)))
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	path, size, err := d.Node.Dump(ctx, rec.Spec.Name, format, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	return &blixardv1.DumpVMResponse{Path: messages.Text(path), Format: string(format), Bytes: int64(size)}, nil
}

// DumpVM writes a guest's memory to the node's disk.
func (d *Door) DumpVM(ctx context.Context, r *connect.Request[blixardv1.DumpVMRequest]) (*connect.Response[blixardv1.DumpVMResponse], error) {
	return answer(d.dumpVM(ctx, r.Msg))
}
