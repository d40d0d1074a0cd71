// Package notify speaks with the service manager that started this process:
// systemd, or anything that keeps its protocol (sd_notify(3), sd_listen_fds(3)).
//
//	Open ──▶ what was given in the environment, which children must not inherit
//	     ──▶ Listener            the socket that the manager holds open while we are away
//	     ──▶ Ready, Stopping     words to the manager
//	     ──▶ Alive               feeds its watchdog, at least once in every AliveEvery
//
// Without a service manager all of it does nothing.
package notify

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// patience is how long a word may take: a service manager that is executing
// itself anew reads nothing for some tenths of a second, and one that hangs
// must not hang us.
const patience = time.Second

// Service is this process as its service manager sees it.
type Service struct {
	socket   string // empty: nobody listens
	watchdog time.Duration
	given    []*os.File
}

// Open takes what the environment says and removes it from there: a VMM that
// inherited it would speak in our name. The failure is host.Broken.
func Open() (*Service, error) {
	s := &Service{socket: os.Getenv("NOTIFY_SOCKET"), given: activation.Files(true)}
	if err := os.Unsetenv("NOTIFY_SOCKET"); err != nil {
		return nil, host.Fail(host.Broken, "read the service manager's environment", err)
	}
	var err error
	if s.watchdog, err = daemon.SdWatchdogEnabled(true); err != nil {
		return nil, host.Fail(host.Broken, "read the service manager's environment", err)
	}
	return s, nil
}

// AliveEvery is how often Alive has to be called: half of the watchdog's time,
// as sd_watchdog_enabled(3) advises; 0 where nobody watches.
func (s *Service) AliveEvery() time.Duration { return s.watchdog / 2 }

// Ready says that the node answers, with a status line for people.
func (s *Service) Ready(status string) error { return s.send("READY=1\nSTATUS=" + status) }

// Stopping says that an orderly end has begun.
func (s *Service) Stopping(status string) error { return s.send("STOPPING=1\nSTATUS=" + status) }

// Alive feeds the watchdog and changes the status line.
func (s *Service) Alive(status string) error { return s.send("WATCHDOG=1\nSTATUS=" + status) }

// send returns within patience. The failure is host.Transient: a later word may arrive.
func (s *Service) send(words string) error {
	if s.socket == "" {
		return nil
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.socket, Net: "unixgram"})
	if err != nil {
		return host.Fail(host.Transient, "reach the service manager", err)
	}
	defer func() { _ = c.Close() }()
	if err = c.SetWriteDeadline(time.Now().Add(patience)); err == nil {
		_, err = c.Write([]byte(words))
	}
	if err != nil {
		return host.Fail(host.Transient, "tell the service manager", err)
	}
	return nil
}

// Listener is the listening socket for path that the service manager gave us,
// or nil where it gave none. Anything else that it gave is refused with a
// *vm.Refusal: callers would connect to a socket that nobody serves. Closing the
// listener leaves the socket's file, which isn't ours.
func (s *Service) Listener(path string) (*net.UnixListener, error) {
	given := s.given
	s.given = nil
	defer func() {
		for _, f := range given {
			_ = f.Close() // what was taken is a duplicate
		}
	}()
	if len(given) == 0 {
		return nil, nil //nolint:nilnil // no socket was given, and that is fine
	}
	if len(given) > 1 {
		return nil, foreign(fmt.Sprintf("the service manager gave %d sockets, this daemon has one: %s", len(given), path))
	}
	what := given[0].Name() // FileDescriptorName=, or the name of the socket unit
	l, err := unixListener(given[0])
	if err != nil {
		return nil, foreign(fmt.Sprintf("what the service manager gave as %q is no listening unix socket: %v", what, err))
	}
	if at := l.Addr().String(); at != path {
		_ = l.Close()
		return nil, foreign(fmt.Sprintf("the service manager gave the socket %s as %q, this daemon's is %s", at, what, path))
	}
	return l, nil
}

func foreign(why string) *vm.Refusal {
	return &vm.Refusal{Code: vm.Invalid, Why: why, Try: "let the socket unit's only ListenStream= and the daemon's --socket name the same path"}
}

var errNotListening = errors.New("it does not listen")

func unixListener(f *os.File) (*net.UnixListener, error) {
	listening, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, err
	}
	if listening == 0 {
		return nil, errNotListening
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if l, ok := l.(*net.UnixListener); ok {
		return l, nil
	}
	return nil, errors.Join(fmt.Errorf("it is for %s", l.Addr().Network()), l.Close())
}
