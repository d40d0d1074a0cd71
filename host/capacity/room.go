package capacity

import (
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Room is what may still be written on the filesystem of a file or folder.
func (Reader) Room(path string) (vm.Bytes, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return 0, host.Fail(host.Transient, "read the room under "+path, err)
	}
	// The kernel counts in fragments; FUSE has others than its blocks.
	return vm.Bytes(fs.Bavail) * vm.Bytes(fs.Frsize), nil
}
