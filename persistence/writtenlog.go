package persistence

import (
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// writtenLogBytes is how much of a new log is written before its first use. A
// log's first memtable is 256 KiB and the next is 512 KiB; from the third on
// Pebble uses old logs again, which are written already.
const writtenLogBytes = 1 << 20

// writtenLogFS writes zeros into each new log before Pebble sees it, so that a
// commit overwrites blocks that exist. Where a file grows (Pebble's own
// fallocate doesn't change that: it leaves unwritten extents), each fdatasync
// must commit the file system's journal too, and waits for the metadata, and on
// ext4 the data, of everybody else who writes there.
//
// A log with a tail of zeros is what Pebble reads after every crash of a
// preallocated log: zeros are no record, and end it. A recycled log's old records
// carry the old log's number, in their checksum too, and end it likewise.
type writtenLogFS struct {
	vfs.FS

	size    int
	isRoomy func() bool // asked before each new log
}

// Unwrap implements vfs.FS.
func (w writtenLogFS) Unwrap() vfs.FS { return w.FS }

// Create implements vfs.FS.
func (w writtenLogFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasSuffix(name, ".log") {
		return w.FS.Create(name, category)
	}
	if !w.isRoomy() {
		return w.FS.Create(name, category)
	}
	if err := writeZeros(w.FS, name, category, w.size); err != nil {
		return w.FS.Create(name, category) // a nearly full disk: the log works without, only slower
	}
	return w.OpenReadWrite(name, category)
}

// writeZeros makes the file and syncs it with its size.
func writeZeros(fs vfs.FS, path string, category vfs.DiskWriteCategory, size int) error {
	f, err := fs.Create(path, category)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
