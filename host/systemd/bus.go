package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/blixard/blixard/host"
)

// private is PID 1's own socket for root: it works without a D-Bus daemon, and
// while that is restarted.
const private = "/run/systemd/private"

// Bounds of a connection.
const (
	dialWithin = 5 * time.Second
	redialMin  = 20 * time.Millisecond
	redialMax  = 2 * time.Second
)

var errAway = errors.New("systemd doesn't answer just now")

// bus keeps a connection to PID 1, which ends when systemd re-executes itself.
type bus struct {
	address string
	again   func() // called after each reconnect

	mu     sync.Mutex
	conn   *sd.Conn // nil: none
	closed chan struct{}
	once   sync.Once

	heeding map[dbus.ObjectPath]map[chan struct{}]bool // who waits for a change of a unit
}

func openBus(address string, again func()) (*bus, error) {
	b := &bus{address: address, again: again, closed: make(chan struct{}), heeding: map[dbus.ObjectPath]map[chan struct{}]bool{}}
	return b, b.connect()
}

func (b *bus) connect() error {
	var raw []*dbus.Conn
	conn, err := sd.NewConnection(func() (*dbus.Conn, error) {
		one, err := b.dial()
		if err == nil {
			raw = append(raw, one)
		}
		return one, err
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		conn.Close()
		return errAway
	default:
	}
	b.conn = conn
	told := make(chan *dbus.Signal, 256)
	raw[1].Signal(told) // the library's own subscriber races with the setting of it
	go b.spread(told)
	go b.mind(conn, raw[0], raw[1])
	return nil
}

// dial speaks to systemd directly, so there is no Hello to a bus. The uid is
// given by number: a static binary asks no user database.
func (b *bus) dial() (*dbus.Conn, error) {
	conn, err := dbus.Dial("unix:path=" + b.address)
	if err != nil {
		return nil, err
	}
	failed := make(chan error, 1)
	go func() { failed <- conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}) }()
	select {
	case err = <-failed:
	case <-time.After(dialWithin):
		err = errAway
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// mind waits for the end of a connection and makes the next.
func (b *bus) mind(conn *sd.Conn, calls, signals *dbus.Conn) {
	select {
	case <-calls.Context().Done():
	case <-signals.Context().Done():
	case <-b.closed:
	}
	b.mu.Lock()
	b.conn = nil
	b.mu.Unlock()
	conn.Close()
	for wait := redialMin; ; wait = min(2*wait, redialMax) {
		select {
		case <-b.closed:
			return
		case <-time.After(wait):
		}
		if b.connect() == nil {
			b.again()
			return
		}
	}
}

// spread tells of changed units until the connection ends. PID 1 sends every
// change of a unit to all who are connected to its own socket, asked or not.
func (b *bus) spread(told <-chan *dbus.Signal) {
	for s := range told {
		if s.Name != "org.freedesktop.DBus.Properties.PropertiesChanged" {
			continue
		}
		b.mu.Lock()
		for one := range b.heeding[s.Path] {
			select {
			case one <- struct{}{}:
			default: // it knows already
			}
		}
		b.mu.Unlock()
	}
}

// pathOf is the unit's place on the bus.
func pathOf(unit string) dbus.ObjectPath {
	return dbus.ObjectPath("/org/freedesktop/systemd1/unit/" + sd.PathBusEscape(unit))
}

// heed has a channel filled when the unit changes. Look at the unit after the
// call, and again after each value; a notice may be lost with the connection, so
// look every jobLook besides. done ends it.
func (b *bus) heed(unit string) (changed <-chan struct{}, done func()) {
	path := pathOf(unit)
	b.mu.Lock()
	defer b.mu.Unlock()
	one := make(chan struct{}, 1)
	if b.heeding[path] == nil {
		b.heeding[path] = map[chan struct{}]bool{}
	}
	b.heeding[path][one] = true
	return one, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.heeding[path], one)
		if len(b.heeding[path]) == 0 {
			delete(b.heeding, path)
		}
	}
}

func (b *bus) close() {
	b.once.Do(func() { close(b.closed) })
}

// get is the connection, or a Transient failure at once: what waits for systemd
// is tried again by whoever wants it.
func (b *bus) get() (*sd.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return nil, errAway
	}
	return b.conn, nil
}

// failure makes a port's failure of a call's error.
func failure(doing string, err error) error {
	if e, ok := errors.AsType[*host.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[dbus.Error](err); ok {
		switch e.Name {
		case "org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired":
			return host.Fail(host.Denied, doing, e)
		case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.PropertyReadOnly", "org.freedesktop.systemd1.BadUnitSetting":
			return host.Fail(host.Broken, doing, fmt.Errorf("systemd refuses a property of the unit: %w", e))
		}
	}
	return host.Fail(host.Transient, doing, err)
}

// named says whether a call failed by the D-Bus error of that name.
func named(err error, name string) bool {
	e, ok := errors.AsType[dbus.Error](err)
	return ok && e.Name == name
}

// begin is a call that starts a job and sends its result.
type begin func(ctx context.Context, c *sd.Conn, done chan<- string) error

// jobLook is how often a job or a unit is looked for beside waiting for its
// signal: one that got lost must not hold a launch up for long.
const jobLook = 250 * time.Millisecond

// await runs a job of the unit to its end. The result is systemd's word, as
// done, failed or canceled; empty where it was missed.
func (b *bus) await(ctx context.Context, unit string, start begin) (string, error) {
	conn, err := b.get()
	if err != nil {
		return "", err
	}
	done := make(chan string, 1)
	if err := start(ctx, conn, done); err != nil {
		return "", err
	}
	for {
		select {
		case result := <-done:
			return result, nil
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(jobLook):
		}
		if now, err := b.get(); err != nil || now != conn {
			return "", errAway
		}
		if u, err := look(ctx, conn, unit); err != nil || !u.job {
			return "", err
		}
	}
}
