package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
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
		conn, err := dial(ctx, path, uid)
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil, os.IsTimeout(err): // the dialer's clock may be before the context's
			return nil, host.Fail(host.Transient, doing, fmt.Errorf("%w; its runner says why in the VMM's log", last))
		case errors.Is(err, unix.ECONNREFUSED):
		case errors.Is(err, fs.ErrNotExist):
			if conn := nameless(ctx, by, name, uid); conn != nil {
				return conn, nil
			}
			by = vm.Process{} // once is enough: from now on its name is waited for
			if err := waitNews(news); err != nil && ctx.Err() == nil {
				return nil, fail(doing, err)
			}
		default:
			return nil, fail(doing, err)
		}
		last = err
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

// nameless connects to a socket that the VMM has bound to that name, as the VMM
// spells it, and of which the name is gone; nil: there is none, or nobody may.
func nameless(ctx context.Context, by vm.Process, name string, uid int) net.Conn {
	if by.PID == 0 {
		return nil
	}
	conn, err := unlinked.Dial(ctx, by, name)
	if err != nil {
		return nil
	}
	if heldBy(conn, uid) != nil {
		_ = conn.Close()
		return nil
	}
	return conn
}

func waitNews(news *os.File) error {
	var events [4096]byte
	_, err := news.Read(events[:])
	return err
}

// dial goes by the folder's descriptor, as a socket's path has at most 107 bytes.
func dial(ctx context.Context, path string, uid int) (net.Conn, error) {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", "/proc/self/fd/"+strconv.Itoa(int(dir.Fd()))+"/"+filepath.Base(path))
	if err != nil {
		return nil, err
	}
	if err := heldBy(conn, uid); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
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
