package console

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/unlinked"
)

// Dial opens the interactive console of a running VM, for a person.
func (c *Console) Dial(ctx context.Context, f host.Paths) (io.ReadWriteCloser, error) {
	c.arrives(f.Console, 1)
	conn, err := dial(ctx, f)
	if err != nil {
		c.arrives(f.Console, -1)
		return nil, err
	}
	return &person{Conn: conn, leave: sync.OnceFunc(func() { c.arrives(f.Console, -1) })}, nil
}

func dial(ctx context.Context, f host.Paths) (net.Conn, error) {
	return unlinked.Reach(ctx, unlinked.Socket{Path: f.Console, By: f.VMM, Doing: "open console " + f.Console})
}

// person is somebody at a console, until Close.
type person struct {
	net.Conn
	leave func()
}

func (p *person) Close() error {
	defer p.leave()
	return p.Conn.Close()
}

func (c *Console) arrives(path string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.persons[path] += n; c.persons[path] == 0 {
		delete(c.persons, path)
	}
}

var errPerson = errors.New("a person is at it")

// Type writes to the guest; see host.Console. What the guest says comes by the
// log, so what comes here is dropped.
func (c *Console) Type(ctx context.Context, f host.Paths, text string) error {
	doing := "type at console " + f.Console
	c.mu.Lock()
	taken := c.persons[f.Console] > 0
	c.mu.Unlock()
	if taken {
		return host.Fail(host.Denied, doing, errPerson)
	}
	conn, err := dial(ctx, f)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err = conn.Write([]byte(text)); err == nil {
		_, err = io.Copy(io.Discard, conn) // until the VMM hangs up, or ctx ends
	}
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = io.EOF
	}
	return host.Fail(host.Gone, doing, err)
}
