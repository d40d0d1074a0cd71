package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

// leavingNode ends each of its first streams in another way, as a daemon does
// that is stopped, killed, or dies in the middle of a message.
type leavingNode struct {
	fakeNode
	mu      sync.Mutex
	streams int
	asked   []string
}

func (n *leavingNode) next(asked string, args ...any) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.streams++
	n.asked = append(n.asked, fmt.Sprintf(asked, args...))
	return n.streams
}

var errEnd = connect.NewError(connect.CodeFailedPrecondition, errors.New("the story is over"))

func (n *leavingNode) WatchEvents(_ context.Context, r *connect.Request[blixardv1.WatchEventsRequest], s *connect.ServerStream[blixardv1.Event]) error {
	nth := n.next("after %d", r.Msg.GetAfter())
	if nth <= 4 {
		if err := s.Send(&blixardv1.Event{Sequence: r.Msg.GetAfter() + 1, At: ago(0), Kind: "Tick"}); err != nil {
			return err
		}
	}
	return depart(nth)
}

func (n *leavingNode) Logs(_ context.Context, r *connect.Request[blixardv1.LogsRequest], s *connect.ServerStream[blixardv1.LogsChunk]) error {
	nth := n.next("incarnation %d", r.Msg.GetIncarnation())
	at := int64(0)
	for _, part := range []string{"one\n", "two\n", "three\n", "four\n", "five\n"}[:min(nth+1, 5)] {
		if r.Msg.GetTailLines() == 0 || part != "one\n" { // all but one
			if err := s.Send(&blixardv1.LogsChunk{Data: []byte(part), Incarnation: 7, Offset: at}); err != nil {
				return err
			}
		}
		at += int64(len(part))
	}
	return depart(nth)
}

func depart(nth int) error {
	switch nth {
	case 1:
		return refuse(vm.Unavailable, "again when it is back", "the daemon is stopping; its VMs are left alone")
	case 2:
		panic(http.ErrAbortHandler) // the connection is cut, as a kill cuts it
	case 3:
		return connect.NewError(connect.CodeUnavailable, io.ErrUnexpectedEOF)
	}
	return errEnd
}

func serveLeaving(t *testing.T) *leavingNode {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	n, mux := &leavingNode{}, http.NewServeMux()
	mux.Handle(blixardv1connect.NewNodeHandler(n))
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: mux, Protocols: &protocols}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	t.Setenv("BLIXARD_SOCKET", l.Addr().String())
	return n
}

func TestFollowersOutliveTheDaemon(t *testing.T) {
	t.Run("events", func(t *testing.T) {
		n := serveLeaving(t)
		code, out, errs := runOnce([]string{"events", "-f"}, "", false)
		if want := []string{"after 3", "after 4", "after 5", "after 6"}; fmt.Sprint(n.asked) != fmt.Sprint(want) {
			t.Errorf("it asked for %v, want %v", n.asked, want)
		}
		if code != exitFailed || strings.Count(out, "Tick") != 4 || strings.Count(errs, "went away") != 3 || !strings.Contains(errs, "the story is over") {
			t.Errorf("code %d\n%s\n%s", code, out, errs)
		}
	})
	t.Run("logs", func(t *testing.T) {
		n := serveLeaving(t)
		code, out, errs := runOnce([]string{"vm", "logs", "-f", "web"}, "", false)
		if want := []string{"incarnation 0", "incarnation 7", "incarnation 7", "incarnation 7"}; fmt.Sprint(n.asked) != fmt.Sprint(want) {
			t.Errorf("it asked for %v, want %v", n.asked, want)
		}
		if code != exitFailed || out != "one\ntwo\nthree\nfour\nfive\n" || strings.Count(errs, "went away") != 3 {
			t.Errorf("code %d\n%q\n%s", code, out, errs)
		}
	})
	t.Run("logs from the last lines on", func(t *testing.T) {
		serveLeaving(t)
		if _, out, errs := runOnce([]string{"vm", "logs", "--tail", "1", "-f", "web"}, "", false); out != "two\nthree\nfour\nfive\n" {
			t.Errorf("%q\n%s", out, errs)
		}
	})
}

// Half a message is what a killed daemon leaves behind.
func TestHalfAMessageIsALostDaemon(t *testing.T) {
	half := connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("protocol error: incomplete envelope: %w", io.ErrUnexpectedEOF))
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, one := range []struct {
		name    string
		leaving bool
		err     error
		want    bool
	}{
		{"half a message", false, half, true},
		{"half a message, but we are leaving", true, half, false},
		{"refused", false, refuse(vm.NotFound, "", "there is no VM"), false},
		{"another unavailability", false, refuse(vm.Unavailable, "", "the store can't write"), false},
		{"our own trouble", false, io.ErrShortWrite, false},
		{"the end", false, nil, false},
	} {
		ctx := t.Context()
		if one.leaving {
			ctx = over
		}
		if got := broken(ctx, one.err); got != one.want {
			t.Errorf("%s: broken is %v, want %v", one.name, got, one.want)
		}
	}
}

// Console ends at once, as it does when the VMM dies.
func (n *leavingNode) Console(_ context.Context, s *connect.BidiStream[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]) error {
	if _, err := s.Receive(); err != nil {
		return err
	}
	return s.Send(&blixardv1.ConsoleOutput{Data: []byte("oh")})
}

func (n *leavingNode) ListVMs(context.Context, *connect.Request[blixardv1.ListVMsRequest]) (*connect.Response[blixardv1.ListVMsResponse], error) {
	return connect.NewResponse(&blixardv1.ListVMsResponse{}), nil
}

func TestAConsoleWhoseVMMEndsSaysSo(t *testing.T) {
	serveLeaving(t)
	typing, keyboard := io.Pipe() // a person who types nothing
	defer keyboard.Close()
	var out, errs strings.Builder
	code := run([]string{"vm", "console", "web"}, &terminal{in: typing, out: &out, err: &errs, inFD: -1, now: time.Now})
	if code != exitFailed || out.String() != "oh" || !strings.Contains(errs.String(), "the console ended: the VMM is gone") ||
		strings.Contains(errs.String(), "left") {
		t.Errorf("code %d, out %q, err %q", code, out.String(), errs.String())
	}
}

func TestAnEmptyListHasItsHeads(t *testing.T) {
	serveLeaving(t)
	if _, out, _ := runOnce([]string{"vm", "list"}, "", false); !strings.HasPrefix(out, "NAME ") || strings.Count(out, "\n") != 1 {
		t.Errorf("a script reads %q", out)
	}
	if _, out, _ := runOnce([]string{"vm", "list", "--no-headers"}, "", false); out != "" {
		t.Errorf("without heads it reads %q", out)
	}
}

func TestTheVersionIsAFlagToo(t *testing.T) {
	if code, out, _ := runOnce([]string{"--version"}, "", false); code != 0 || out != versionLine(ownVersion()) {
		t.Errorf("code %d, %q", code, out)
	}
}

// What leads a VM through several phases is told once; what happens again where
// it stands is told again.
func TestAReasonIsToldOnceOnTheWay(t *testing.T) {
	var out bytes.Buffer
	c := &cli{terminal: &terminal{out: &out, now: func() time.Time { return noon }}}
	cmd := eventsCommand(c)
	for i, one := range []struct {
		e     *blixardv1.Event
		again bool
		want  string
	}{
		{&blixardv1.Event{Kind: "GuestSick", From: "running", To: "killing", Cause: "guest-panic", Decision: "backoff", Why: "guest-panic: oops"}, false, "GuestSick running → killing: backoff, guest-panic: oops\n"},
		{&blixardv1.Event{Kind: "VMMGone", From: "killing", To: "reaping", Why: "guest-panic: oops"}, true, "VMMGone killing → reaping\n"},
		{&blixardv1.Event{Kind: "HealthChanged", From: "running", To: "running", Why: "site: refused"}, true, "HealthChanged: site: refused\n"},
		{&blixardv1.Event{Kind: "KillConfirmed", From: "killing", To: "reaping", Cause: "killed-by-us", Why: "it was asked down"}, false, "KillConfirmed killing → reaping: killed-by-us, it was asked down\n"},
	} {
		out.Reset()
		if err := c.printEvent(cmd, one.e, one.again); err != nil || !strings.HasSuffix(out.String(), " "+one.want) {
			t.Errorf("%d: %q, %v", i, out.String(), err)
		}
	}
}
