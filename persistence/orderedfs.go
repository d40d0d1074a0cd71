package persistence

import (
	"errors"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// orderedFS syncs the folder before Pebble makes a marker in it. A marker names
// the manifest that counts; Pebble syncs the manifest's content, but not its
// place in the folder. On a file system that keeps a later name and loses an
// earlier one, a power cut while opening would leave a marker of a manifest
// that isn't there, and a store that can't be opened (P3).
type orderedFS struct{ vfs.FS }

// Unwrap implements vfs.FS.
func (o orderedFS) Unwrap() vfs.FS { return o.FS }

// Create implements vfs.FS.
func (o orderedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(name), "marker.") {
		if err := syncFolder(o.FS, o.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(name, category)
}

func syncFolder(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
