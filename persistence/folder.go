package persistence

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// takeFolder makes the folder, proves that it can be written, and locks it
// against a second daemon. The kernel frees the lock when its holder dies.
func takeFolder(dir string, fs vfs.FS) (*pebble.Lock, error) {
	if err := makeFolder(dir, fs); err != nil {
		return nil, refuseFolder(dir, err)
	}
	if _, err := fs.List(dir); err != nil {
		return nil, refuseFolder(dir, err)
	}
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		if held, pid := lockHeld(dir, fs, err); held {
			return nil, refuseSecond(dir, pid)
		}
		return nil, refuseFolder(dir, err)
	}
	if err := tryWrite(dir, fs); err != nil {
		_ = lock.Close()
		return nil, refuseFolder(dir, err)
	}
	return lock, nil
}

// makeFolder makes the folder with its parents, and syncs every folder that got
// a new name in it: a power cut must not take the store's folder away (P3).
func makeFolder(dir string, fs vfs.FS) error {
	var grown []string
	for at := dir; ; at = fs.PathDir(at) {
		if _, err := fs.Stat(at); err == nil || fs.PathDir(at) == at {
			break
		}
		grown = append(grown, fs.PathDir(at))
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, parent := range grown {
		if err := syncFolder(fs, parent); err != nil {
			return err
		}
	}
	return nil
}

// lockHeld tells another holder of the lock from a folder that can't be
// written, and finds the holder's pid where it can (else 0).
func lockHeld(dir string, fs vfs.FS, err error) (bool, int) {
	if errors.Is(err, syscall.EAGAIN) {
		if vfs.Root(fs) != vfs.Default {
			return true, 0
		}
		return true, lockHolder(fs.PathJoin(dir, "LOCK"))
	}
	if _, errno := errors.AsType[syscall.Errno](err); errno {
		return false, 0
	}
	// Pebble's table of this process's own locks speaks without an error
	// number. The file must not be opened here: closing it would free the lock.
	return true, os.Getpid()
}

// lockHolder asks the kernel who holds the lock; 0: nobody, or somebody in another pid namespace.
func lockHolder(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// probeBytes is enough for the files that Pebble makes when it opens, so that a
// full disk is met here, where it is an error, and not there, where it may be an end.
const probeBytes = 256 << 10

func tryWrite(dir string, fs vfs.FS) error {
	path := fs.PathJoin(dir, "write-probe")
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync() // some file systems find out only here that they are full
	}
	return errors.Join(err, f.Close(), fs.Remove(path))
}
