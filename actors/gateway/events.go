package gateway

import (
	"context"
	"sort"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// eventBatch is how many entries are read at a time: a client that reads slowly
// holds these and no more.
const eventBatch = 256

// watch sends the journal after a place; with follow it stays.
func (d *Door) watch(ctx context.Context, m *blixardv1.WatchEventsRequest, after uint64, send func(*blixardv1.Event) error) error {
	since := time.Time{}
	if m.GetSince() != nil {
		since = m.GetSince().AsTime()
	}
	for {
		again := d.Journal.Changed() // before the look: no entry falls between them
		entries, err := d.Journal.Events(after, eventBatch)
		if err != nil {
			return err
		}
		for _, e := range entries {
			after = e.Sequence
			if e.At.Before(since) || m.GetVm() != "" && e.Name != vm.Name(m.GetVm()) {
				continue
			}
			if err := send(messages.EventToProto(e)); err != nil {
				return err
			}
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case len(entries) > 0:
			continue
		case !m.GetFollow():
			return nil
		}
		if err := d.until(ctx, again); err != nil {
			return err
		}
	}
}

// until waits for a change, unless the caller goes away or the door closes first.
func (d *Door) until(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closing:
		return stopping
	}
}

// beginning is the sequence number after which to begin. The journal is in
// order of time but for steps of the clock, so a search finds "since" without
// reading all of it.
func (d *Door) beginning(m *blixardv1.WatchEventsRequest) (uint64, error) {
	last := d.Journal.LastEvent()
	switch {
	case m.After != nil:
		return m.GetAfter(), nil
	case m.GetSince() == nil && m.GetFollow():
		return last, nil
	case m.GetSince() == nil:
		return 0, nil
	}
	since := m.GetSince().AsTime()
	var failed error
	n := sort.Search(int(last), func(i int) bool {
		one, err := d.Journal.Events(uint64(i), 1)
		if err != nil {
			failed = err
		}
		return err != nil || len(one) == 0 || !one[0].At.Before(since)
	})
	return uint64(n), failed
}

// WatchEvents streams the journal. It says hello with its headers at once, so
// that a client knows that it is heard before anything happens. Its place is
// taken before the hello: what happens after it is never missed.
func (d *Door) WatchEvents(ctx context.Context, r *connect.Request[blixardv1.WatchEventsRequest], s *connect.ServerStream[blixardv1.Event]) error {
	after, err := d.beginning(r.Msg)
	if err != nil {
		return d.wireError(r.Spec().Procedure, err)
	}
	if r.Msg.GetFollow() {
		if err := s.Send(nil); err != nil {
			return err
		}
	}
	return d.wireError(r.Spec().Procedure, d.watch(ctx, r.Msg, after, s.Send))
}
