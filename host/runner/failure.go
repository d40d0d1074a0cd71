package runner

import (
	"context"
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// fail gives an error of the system its kind. A kind that was set nearer to its birth stays.
func fail(doing string, err error) error {
	kind := host.Broken
	_, known := errors.AsType[*host.Error](err)
	switch {
	case known:
		kind = host.KindOf(err)
	case errors.Is(err, fs.ErrPermission):
		kind = host.Denied
	default:
		for _, passing := range []error{
			unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ETXTBSY,
			context.Canceled, context.DeadlineExceeded,
		} {
			if errors.Is(err, passing) {
				kind = host.Transient
			}
		}
	}
	return host.Fail(kind, doing, err)
}
