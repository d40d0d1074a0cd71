package folders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// fail gives an error of the file system its kind. A kind that was set nearer
// to its birth stays.
func fail(doing, path string, err error) error {
	kind := host.Broken
	_, known := errors.AsType[*host.Error](err)
	switch {
	case known:
		kind = host.KindOf(err)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return host.Fail(host.Transient, doing, fmt.Errorf("%w: %s", err, room(path)))
	case errors.Is(err, unix.EROFS):
		err = fmt.Errorf("%w: mount it writable, or choose another state folder", err)
	case errors.Is(err, fs.ErrPermission):
		kind = host.Denied
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM),
		errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EBUSY),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = host.Transient
	}
	return host.Fail(kind, doing, err)
}

func room(path string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return "free space unknown"
	}
	unit := vm.Bytes(s.Frsize)
	return fmt.Sprintf("%s of %s left, %d of %d files left",
		(vm.Bytes(s.Bavail) * unit).Rounded(), (vm.Bytes(s.Blocks) * unit).Rounded(), s.Ffree, s.Files)
}
