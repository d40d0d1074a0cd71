package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// A follower looks for a daemon that went away after soon, and then ever more
// rarely, but at least every seldom.
const (
	soon   = 250 * time.Millisecond
	seldom = 5 * time.Second
)

// following runs one stream after the other until one ends for a reason of its
// own. stream says whether anything came: then, or where it lasted, the daemon
// was there, and its loss is a new one.
func (c *cli) following(ctx context.Context, stream func() (came bool, err error)) error {
	wait, told := soon, false
	for {
		began := time.Now()
		came, err := stream()
		if !broken(ctx, err) {
			return err
		}
		if came || time.Since(began) > seldom {
			wait, told = soon, false
		}
		if !told {
			c.progress.hide()
			fmt.Fprintln(c.err, "blixard: the daemon went away, waiting for it to come back")
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, seldom)
	}
}

// broken tells a stream that its daemon's end broke from one that was refused.
// A killed daemon leaves half a message or a connection that is reset; one that
// is asked to end says so.
func broken(ctx context.Context, err error) bool {
	switch {
	case err == nil || ctx.Err() != nil:
		return false
	case errors.Is(err, errUnreachable):
		return true
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return false
	}
	if len(e.Details()) > 0 {
		r := messages.RefusalOf(err)
		return r.Code == vm.Unavailable && strings.Contains(r.Why, "stopping")
	}
	switch e.Code() {
	case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeCanceled, connect.CodeInternal:
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(e.Message(), "unexpected EOF") ||
		strings.Contains(e.Message(), "incomplete envelope")
}
