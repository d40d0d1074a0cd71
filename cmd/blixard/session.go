package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

// callTimeout bounds a call that answers at once, as all do but wait, exec and
// the streams. The daemon answers in milliseconds; this is for one that hangs.
const callTimeout = 30 * time.Second

// socketPath is --socket, else the environment's, else the place of this user.
func (c *cli) socketPath() string {
	if c.socket != "" {
		return c.socket
	}
	if s := os.Getenv("BLIXARD_SOCKET"); s != "" {
		return s
	}
	if os.Geteuid() == 0 {
		return "/run/blixard/blixard.sock"
	}
	run := os.Getenv("XDG_RUNTIME_DIR")
	if run == "" {
		run = fmt.Sprintf("/run/user/%d", os.Geteuid())
	}
	return filepath.Join(run, "blixard", "blixard.sock")
}

// node is the daemon, spoken to by HTTP/1.1.
func (c *cli) node() blixardv1connect.NodeClient {
	return c.client(&http.Transport{DialContext: c.dial, DisableCompression: true})
}

// duplex is the daemon spoken to by HTTP/2, for streams that go both ways.
func (c *cli) duplex() blixardv1connect.NodeClient {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return c.client(&http.Transport{DialContext: c.dial, DisableCompression: true, Protocols: &only})
}

func (c *cli) client(t *http.Transport) blixardv1connect.NodeClient {
	return blixardv1connect.NewNodeClient(
		&http.Client{Transport: t}, "http://blixard",
		connect.WithAcceptCompression("gzip", nil, nil), // the other end of the socket is this machine
	)
}

func (c *cli) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	path := c.socketPath()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		return conn, nil
	}
	r := &vm.Refusal{Code: vm.Unavailable, Try: "blixard daemon, or --socket PATH"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.Why = fmt.Sprintf("the daemon can't be reached: there is no socket at %s", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		r.Why = fmt.Sprintf("the daemon can't be reached: nobody listens at %s", path)
	case errors.Is(err, fs.ErrPermission):
		r.Why = fmt.Sprintf("the daemon can't be reached: no permission for %s", path)
		r.Try = "as root, or as a member of the group blixard"
	case errors.Is(err, syscall.EINVAL) || len(path) > 107:
		r.Why = fmt.Sprintf("the daemon can't be reached: the socket's path has %d bytes, at most 107 are possible", len(path))
		r.Try = "a shorter --socket PATH"
	default:
		r.Why = fmt.Sprintf("the daemon can't be reached at %s: %v", path, err)
	}
	return nil, &unreachable{r}
}

// unreachable is a refusal of the way to the daemon, not of the daemon.
type unreachable struct{ refusal *vm.Refusal }

func (e *unreachable) Error() string   { return e.refusal.Error() }
func (e *unreachable) Unwrap() []error { return []error{e.refusal, errUnreachable} }

// ask makes one call that answers at once.
func ask[Req, Res any](
	ctx context.Context, c *cli, f func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req,
) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer c.waiting("waiting for the daemon's answer")()
	return call(ctx, f, req)
}

// call makes one call that may take as long as its context lets it.
func call[Req, Res any](
	ctx context.Context, f func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req,
) (*Res, error) {
	res, err := f(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, lost(err)
	}
	return res.Msg, nil
}

// lost turns the wire's own failures into words. A daemon that goes away in the
// middle of a call can't be reached either; a refusal of the daemon is left alone.
func lost(err error) error {
	if u, ok := errors.AsType[*unreachable](err); ok {
		return u
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || len(e.Details()) > 0 {
		return err
	}
	switch e.Code() {
	case connect.CodeUnavailable:
		return &unreachable{&vm.Refusal{
			Code: vm.Unavailable, Why: fmt.Sprintf("the connection to the daemon was lost: %s", e.Message()), Try: "the same again",
		}}
	case connect.CodeDeadlineExceeded:
		return &vm.Refusal{Code: vm.TimedOut, Why: "the daemon did not answer in time", Try: "blixard node status, and the daemon's log"}
	case connect.CodeUnimplemented:
		return &vm.Refusal{Code: vm.Unavailable, Why: "the daemon doesn't know this request: it is of another version", Try: "blixard version"}
	default:
		return err
	}
}
