package meter

import (
	"encoding/binary"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

const (
	maxFiles = 1024 // of one VM; what is beyond them isn't counted
	maxDepth = 4    // folders below the VM's own
)

// usedDisk is a walk over one VM's folder.
type usedDisk struct {
	device             uint64 // of the folder: what is mounted below it isn't the VM's
	left               int
	allocated, virtual vm.Bytes
}

// disk is what the files below the folder hold, and what they may grow to: a
// sparse disk to its size, a qcow2 image to that of the disk in it.
func (m *Meter) disk(folder string) (allocated, virtual vm.Bytes) {
	fd, err := open(unix.AT_FDCWD, folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return 0, 0
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return 0, 0
	}
	w := usedDisk{device: st.Dev, left: maxFiles}
	w.walk(fd, maxDepth)
	return w.allocated, w.virtual
}

func (w *usedDisk) walk(fd, depth int) {
	for _, name := range names(fd, w.left) {
		if w.left--; w.left < 0 {
			return
		}
		var st unix.Stat_t
		if unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != w.device {
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			w.count(fd, name, st)
		case unix.S_IFDIR:
			if depth > 0 {
				w.below(fd, name, depth-1)
			}
		}
	}
}

func (w *usedDisk) below(fd int, name string, depth int) {
	in, err := open(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(in) }()
	w.walk(in, depth)
}

func (w *usedDisk) count(fd int, name string, st unix.Stat_t) {
	holds := amount(uint64(max(st.Blocks, 0)), 512)
	grows := max(holds, vm.Bytes(st.Size))
	if strings.HasSuffix(name, ".qcow2") {
		grows = max(grows, qcow2(fd, name))
	}
	w.allocated, w.virtual = sum(w.allocated, holds), sum(w.virtual, grows)
}

// qcow2 reads the size of the disk from the image's header: eight bytes, the
// higher first, at offset 24; 0 where it is no such image.
func qcow2(dir int, name string) vm.Bytes {
	fd, err := open(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return 0
	}
	defer func() { _ = unix.Close(fd) }()
	var head [32]byte
	if n, err := unix.Pread(fd, head[:], 0); err != nil || n < len(head) || string(head[:4]) != "QFI\xfb" {
		return 0
	}
	return amount(binary.BigEndian.Uint64(head[24:]), 1)
}

// sum adds, as far as it can be held.
func sum(a, b vm.Bytes) vm.Bytes {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
