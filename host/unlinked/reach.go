package unlinked

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Socket is one that a process listens on.
type Socket struct {
	Path  string               // of any length
	Bound string               // as the process spells it; empty: as Path
	By    vm.Process           // who listens; zero: it is reached by its name alone
	Check func(net.Conn) error // refuses who listens; nil: nobody is refused
	Doing string               // what an error says was being done
}

// maxPath is what fits a unix socket's address with the NUL that ends it.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// Reach connects to the socket by its name or, where nobody listens by that,
// without one. Gone is that nobody listens by the name, and that the process has
// no such socket or this daemon may not look for it; the error wraps what the
// name said. All that may pass (a timeout, a full backlog, too many descriptors)
// is Transient, by either way. What Check refuses by the name keeps its kind, or
// is Denied.
func Reach(ctx context.Context, s Socket) (net.Conn, error) {
	conn, err := byName(ctx, s.Path)
	if err == nil {
		if err := s.check(conn); err != nil {
			return nil, host.Fail(kindOfRefusal(err), s.Doing, err)
		}
		return conn, nil
	}
	kind := kindOf(err)
	if kind != host.Gone || s.By.PID == 0 {
		return nil, host.Fail(kind, s.Doing, err)
	}
	conn, without := s.nameless(ctx)
	if without == nil {
		return conn, nil
	}
	if host.KindOf(without) == host.Transient {
		kind = host.Transient
	}
	return nil, host.Fail(kind, s.Doing, fmt.Errorf("%w; %v", err, without))
}

func (s Socket) nameless(ctx context.Context) (net.Conn, error) {
	bound := s.Bound
	if bound == "" {
		bound = s.Path
	}
	conn, err := Dial(ctx, s.By, bound)
	if err != nil {
		return nil, err
	}
	if err := s.check(conn); err != nil {
		return nil, host.Fail(kindOfRefusal(err), "check who listens without a name", err)
	}
	return conn, nil
}

// check closes the connection that it refuses.
func (s Socket) check(conn net.Conn) error {
	if s.Check == nil {
		return nil
	}
	err := s.Check(conn)
	if err != nil {
		_ = conn.Close()
	}
	return err
}

func kindOfRefusal(err error) host.Kind {
	if _, known := errors.AsType[*host.Error](err); known {
		return host.KindOf(err)
	}
	return host.Denied
}

// byName goes by a descriptor of the folder where the path fits no address.
func byName(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	if len(path) <= maxPath {
		return d.DialContext(ctx, "unix", path)
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+filepath.Base(path))
}

// kindOf is Transient of what is not known to last: who is told Gone or Denied
// goes on without the socket.
func kindOf(err error) host.Kind {
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, errNone), errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return host.Gone
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errors.ErrUnsupported), errors.Is(err, unix.ENOTTY): // of a kernel without the calls
		return host.Denied
	}
	return host.Transient
}
