// Package reach asks guests over the network: whether a port takes a
// connection, and what a web server answers.
//
//	Connect ──▶ TCP, closed at once
//	Get     ──▶ TCP ──▶ TLS, not verified ──▶ one request of HTTP/1.1
//	                                          ├─ header  ≤ 16 KiB
//	                                          ├─ body    ≤ 64 KiB, only where a pattern is looked for
//	                                          └─ redirects, only within the same server
//
// Nothing is resolved: an address is an IP, or localhost. A name server that
// hangs would be the guest's failure else. No proxy of the daemon's environment
// stands between. The guest's certificate isn't verified, as the kubelet
// doesn't: the question is whether it answers, and nothing secret is sent but
// the headers that the spec names.
package reach

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Client is a host.Reach. It keeps no connection between two calls.
type Client struct{}

var _ host.Reach = Client{}

// Connect opens a TCP connection and closes it.
func (Client) Connect(ctx context.Context, address string) error {
	const doing = "connect"
	to, err := netip.ParseAddrPort(address)
	if err != nil || to.Port() == 0 {
		return host.Fail(host.Broken, doing, fmt.Errorf("%q is no IP:PORT", address))
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err != nil {
		return failed(ctx, doing, err)
	}
	_ = conn.Close() // it was open, which is all that was asked
	return nil
}

// failed tells whose failure it is, in words that hold nothing of the guest's.
func failed(ctx context.Context, doing string, err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(ctx.Err(), context.Canceled):
		return host.Fail(host.Denied, doing, errCanceled) // by us
	case errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return host.Fail(host.Transient, doing, errLate)
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return host.Fail(kindOf(ctx, errno, err), doing, errno)
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return host.Fail(host.Transient, doing, errLate)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return host.Fail(host.Transient, doing, errHungUp)
	}
	return host.Fail(host.Transient, doing, errors.New(short(err.Error())))
}

var (
	errLate     = errors.New("no answer in time")
	errCanceled = errors.New("nobody waits for the answer any more")
	errHungUp   = errors.New("the connection was closed before the answer was whole")
)

// kindOf: with its own link down, it is this machine that is cut off. Where the
// network is told to be out of reach, that may be what a guest, or a router that
// is one, sent back: it is this machine alone that says so where it has no route.
func kindOf(ctx context.Context, errno unix.Errno, err error) host.Kind {
	switch errno {
	case unix.ECONNREFUSED:
		return host.Gone
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES:
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil && routed(ctx, op.Addr) {
			return host.Transient
		}
		return host.Denied
	case unix.ENETDOWN, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.EADDRNOTAVAIL, unix.EPERM, unix.EAFNOSUPPORT:
		return host.Denied
	case unix.EINVAL:
		return host.Broken
	}
	return host.Transient
}

// routed asks the kernel for a way to an address. UDP sends nothing as it connects.
func routed(ctx context.Context, to net.Addr) bool {
	conn, err := new(net.Dialer).DialContext(context.WithoutCancel(ctx), "udp", to.String())
	if err != nil {
		return false
	}
	_ = conn.Close() // it was only the way that was asked for
	return true
}

// short keeps an error to a part of a line: a library quotes a server in it.
func short(s string) string { return vm.OneLine(s, 160) }

// since is a time as a person reads it.
func since(began time.Time) time.Duration {
	took := time.Since(began)
	if took < time.Millisecond {
		return took.Round(time.Microsecond)
	}
	return took.Round(time.Millisecond)
}
