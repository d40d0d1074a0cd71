package persistence

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/blixard/blixard/vm"
)

// SetAside renames the store's folder, so that another store can take its place,
// and returns the new path. Nothing is deleted: a person may still get something
// out of it. An error means that the folder is where it was; a folder that
// another daemon holds is refused.
func SetAside(dir string, now time.Time) (string, error) { return setAside(vfs.Default, dir, now) }

// asides bounds the search for a free name; each is one damage in the same second.
const asides = 100

func setAside(fs vfs.FS, dir string, now time.Time) (string, error) {
	lock, err := pebble.LockDirectory(dir, fs)
	if err != nil {
		if held, pid := lockHeld(dir, fs, err); held {
			return "", refuseSecond(dir, pid)
		}
		return "", fmt.Errorf("setting aside the store in %s: %w", dir, err)
	}
	defer func() { _ = lock.Close() }()
	base := dir + ".damaged-" + now.UTC().Format("20060102T150405Z")
	for n := range asides {
		aside := base
		if n > 0 {
			aside = fmt.Sprintf("%s-%d", base, n+1)
		}
		if _, err := fs.Stat(aside); err == nil {
			continue
		}
		if err := fs.Rename(dir, aside); err != nil {
			return "", fmt.Errorf("setting aside the store in %s: %w", dir, err)
		}
		return aside, syncFolder(fs, fs.PathDir(dir))
	}
	return "", fmt.Errorf("setting aside the store in %s: %s to %s-%d are all taken", dir, base, base, asides)
}

// Rebuild makes a store of these records where none is, and appears whole or not
// at all. Entries, of which there must be one that says why, start the journal.
// Those of a Memory keep their numbers; without numbers the journal goes on above
// all that the witness, and a Memory that began there, can have reached. Where
// the witness can be read, the store gets the id that the witness knows, so that
// Open accepts it.
func Rebuild(dir string, records []vm.Record, entries []vm.Entry, o Options) error {
	o.fill()
	if len(entries) == 0 {
		return errors.New("rebuilding a store: no entry says why")
	}
	if err := makeWay(o.FS, dir); err != nil {
		return fmt.Errorf("rebuilding the store in %s: %w", dir, err)
	}
	var w Witness
	if o.Witness != "" {
		w, _ = readWitness(o.FS, o.Witness) // one that can't be read knows no id, and accepts any
	}
	draft := dir + ".rebuilt"
	if err := o.FS.RemoveAll(draft); err != nil {
		return fmt.Errorf("rebuilding the store in %s: %w", dir, err)
	}
	now, err := build(draft, w, records, entries, o)
	if err != nil {
		return fmt.Errorf("rebuilding the store in %s: %w", dir, err)
	}
	if err := errors.Join(o.FS.Rename(draft, dir), syncFolder(o.FS, o.FS.PathDir(dir))); err != nil {
		return fmt.Errorf("rebuilding the store in %s: %w", dir, err)
	}
	if o.Witness == "" {
		return nil
	}
	return writeWitness(o.FS, o.Witness, now)
}

// makeWay removes a folder in which there never was a store, and refuses any other.
func makeWay(fs vfs.FS, dir string) error {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != "LOCK" {
			return fmt.Errorf("there is %s already: set the folder aside first", name)
		}
	}
	return fs.RemoveAll(dir)
}

// build returns what the witness should see.
func build(dir string, w Witness, records []vm.Record, entries []vm.Entry, o Options) (Witness, error) {
	o.Witness = ""
	p, err := open(dir, o, w.Store)
	if err != nil {
		return w, err
	}
	p.next = firstNumber(w, entries) - 1
	for _, r := range records {
		if _, err := p.Commit(Turn{Record: r, Whole: true}); err != nil {
			return w, errors.Join(err, p.Close())
		}
	}
	for _, e := range entries {
		if _, err := p.Note(e); err != nil {
			return w, errors.Join(err, p.Close())
		}
	}
	return p.now(), p.Close()
}

func firstNumber(w Witness, entries []vm.Entry) uint64 {
	first := entries[0].Sequence
	for i, e := range entries {
		if e.Sequence != 0 && e.Sequence != first+uint64(i) {
			first = 0
		}
	}
	switch {
	case first > w.Sequence:
		return first
	case w.Store == "":
		return 1
	}
	return w.Resume() + resumeGap + 1
}
