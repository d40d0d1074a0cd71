package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// inspect says whether a store is there, and reads all of it before anything is
// written: damage that Pebble would meet later, in the background, where it ends
// the process, or never, because it takes the damage for an end, is met here.
func (p *Pebble) inspect(w *Witness) (isThere bool, err error) {
	isThere, err = p.peek()
	if err != nil || !isThere {
		if err == nil && w != nil {
			err = p.missing()
		}
		return isThere, err
	}
	if err := checkLogs(p.o.FS, p.dir); err != nil {
		return true, err
	}
	_, err = p.within(func() error { return p.readThrough(w) }, func(error) {})
	return true, err
}

// peek finds the marker that makes a folder a store. Without one, a table or a
// log with something in it says that there was one.
func (p *Pebble) peek() (bool, error) {
	names, err := p.o.FS.List(p.dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		var generation, format int
		n, _ := fmt.Sscanf(name, "marker.format-version.%d.%d", &generation, &format)
		if n == 2 && format > int(pebble.FormatNewest) {
			return true, unusable(Newer, "it was written by a newer version: file format %d, this one knows up to %d", format, pebble.FormatNewest)
		}
	}
	d, err := pebble.Peek(p.dir, p.o.FS)
	if err != nil {
		return true, err
	}
	if d.Exists {
		return true, nil
	}
	for _, name := range names {
		path := p.o.FS.PathJoin(p.dir, name)
		used := strings.HasSuffix(name, ".sst")
		if strings.HasSuffix(name, ".log") {
			content, err := readWhole(p.o.FS, path)
			if err != nil {
				return true, err
			}
			used = len(bytes.Trim(content, "\x00")) > 0
		}
		if used {
			return true, unusable(Damaged, "it is damaged: there is %s and no marker of a manifest", name)
		}
	}
	return false, nil
}

// readThrough opens the database without any right to change it.
func (p *Pebble) readThrough(w *Witness) error {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	db, err := pebble.Open(p.dir, &pebble.Options{
		FS: readingFS{p.o.FS}, ReadOnly: true, Cache: cache, MemTableSize: memtableBytes, MaxOpenFiles: openFiles,
		FormatMajorVersion: formatVersion, Logger: p.said, EventListener: p.said.listener(),
	})
	if err != nil {
		return err
	}
	err = p.readAll(db, w)
	return errors.Join(err, db.Close())
}

func (p *Pebble) readAll(db *pebble.DB, w *Witness) error {
	id, err := get(db, []byte(identityKey))
	if err != nil {
		return err
	}
	isKnown := w != nil && w.Store != ""
	if isKnown && id == nil {
		return unusable(Damaged, "it is damaged: its id is gone, which its witness %s has seen", p.o.Witness)
	}
	if _, err := schemaOf(db, Schema); err != nil {
		return err
	}
	last, err := checkKeys(db)
	switch {
	case err != nil || !isKnown:
		return err
	case string(id) != w.Store:
		return unusable(Foreign, "it is store %.40q, and its witness %s has seen store %.40q", id, p.o.Witness, w.Store)
	case last < w.Sequence:
		return unusable(Older, "it ends with event %d, and its witness %s has seen event %d: a copy was put back, or its end is lost",
			last, p.o.Witness, w.Sequence)
	}
	return nil
}

// checkKeys reads every key and value, and so every block of the tables. Events
// have no holes (see handOver), so a hole is a lost log.
func checkKeys(db *pebble.DB) (last uint64, err error) {
	var hole error
	scanned := dbReader{db}.scan(nil, nil, func(key, _ []byte) bool {
		if !strings.HasPrefix(string(key), string(events)) {
			return true
		}
		n := numberOf(key)
		if last != 0 && n != last+1 {
			hole = unusable(Damaged, "it is damaged: event %d is followed by event %d", last, n)
		}
		last = n
		return hole == nil
	})
	return last, errors.Join(scanned, hole)
}

func readWhole(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(f)
	return content, errors.Join(err, f.Close())
}

// readingFS refuses every change. The lock is held already.
type readingFS struct{ vfs.FS }

var errReading = errors.New("the store is only being read")

type noLock struct{}

func (noLock) Close() error { return nil }

// Lock implements vfs.FS.
func (readingFS) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Create implements vfs.FS.
func (readingFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errReading }

// OpenReadWrite implements vfs.FS.
func (readingFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReading
}

// ReuseForWrite implements vfs.FS.
func (readingFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReading
}

// Link implements vfs.FS.
func (readingFS) Link(string, string) error { return errReading }

// Remove implements vfs.FS.
func (readingFS) Remove(string) error { return errReading }

// RemoveAll implements vfs.FS.
func (readingFS) RemoveAll(string) error { return errReading }

// Rename implements vfs.FS.
func (readingFS) Rename(string, string) error { return errReading }
