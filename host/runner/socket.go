package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/unlinked"
	"github.com/blixard/blixard/vm"
)

// A VMM listens some microseconds after its socket's name exists, and no event
// tells when; it is also how often a VMM that fills its folder with names wakes us.
const listenPause = 5 * time.Millisecond

// knock connects to the socket that the VMM makes in its working folder, as
// soon as it does, and proves that the VM's user listens there: the VMM could
// have put a link to another's socket in its place (P8). One that listens
// already, and whose name somebody deleted, is reached without it.
func knock(ctx context.Context, work, name string, uid int, by vm.Process) (net.Conn, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(work, name)
	}
	doing := "connect to the VMM's socket " + path
	news, err := watchFolder(filepath.Dir(path))
	if err != nil {
		return nil, fail(doing, err)
	}
	defer news.Close()
	defer context.AfterFunc(ctx, func() { _ = news.SetReadDeadline(time.Unix(1, 0)) })()
	last := fs.ErrNotExist
	for {
		conn, err := unlinked.Reach(ctx, unlinked.Socket{
			Path: path, Bound: name, By: by, Doing: doing,
			Check: func(conn net.Conn) error { return heldBy(conn, uid) },
		})
		nameless := errors.Is(err, fs.ErrNotExist)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil, timedOut(err): // the dialer's clock may be before the context's
			return nil, host.Fail(host.Transient, doing, fmt.Errorf("%w; its runner says why in the VMM's log", last))
		case host.KindOf(err) == host.Gone:
			by = vm.Process{} // once is enough: from now on its name is waited for
			if nameless {
				if err := waitNews(news); err != nil && ctx.Err() == nil {
					return nil, fail(doing, err)
				}
			}
		case nameless, errors.Is(err, unix.ECONNREFUSED): // what keeps us from it without its name may pass
		default:
			return nil, fail(doing, errors.Unwrap(err))
		}
		last = errors.Unwrap(err)
		select {
		case <-time.After(listenPause):
		case <-ctx.Done():
		}
	}
}

// watchFolder opens an inotify descriptor that becomes readable when a name appears in dir.
func watchFolder(dir string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	news := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", dir, err), news.Close())
	}
	return news, nil
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

func waitNews(news *os.File) error {
	var events [4096]byte
	_, err := news.Read(events[:])
	return err
}

// heldBy asks the kernel who listens.
func heldBy(conn net.Conn, uid int) error {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, asked); err != nil {
		return err
	}
	if int(peer.Uid) != uid {
		return host.Fail(host.Denied, "check who listens", fmt.Errorf("user %d listens there, not the VM's user %d", peer.Uid, uid))
	}
	return nil
}
