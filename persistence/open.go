package persistence

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// openLimit is how long a store may take to open. The longest that was seen is
// under a second; what takes so long doesn't come to an end.
const openLimit = 2 * time.Minute

// Open opens the store in the folder and makes it where neither the folder nor
// the witness knows of one. Every error is a *vm.Refusal: the folder belongs to
// another daemon, can't be used, or has no space left. Where the content is why,
// the error is an *Unusable too, nothing was changed, and the folder is free.
func Open(dir string, o Options) (*Pebble, error) {
	o.fill()
	return open(dir, o, "")
}

// open makes a new store with this id; empty: a random one.
func open(dir string, o Options, id string) (*Pebble, error) {
	p := &Pebble{dir: dir, o: o, id: id, ballast: newBallast(o.Ballast, o.Log)}
	p.o.FS = writtenLogFS{FS: o.FS, size: o.logBytes, isRoomy: p.ballast.look}
	if p.ballast != nil {
		p.o.FS = vfs.OnDiskFull(p.o.FS, p.ballast.full)
	}
	p.said = &pebbleLog{log: o.Log, fatal: p.fatal, broken: p.breakDown, trouble: make(chan error, 1)}
	witness, err := p.callWitness()
	if err != nil {
		return nil, refuseStore(dir, err)
	}
	p.lock, err = takeFolder(dir, p.o.FS)
	if err != nil {
		return nil, err
	}
	isThere, err := p.inspect(witness)
	if err != nil {
		_ = p.lock.Close()
		return nil, refuseStore(dir, err)
	}
	if err := p.openForWriting(!isThere); err != nil {
		if isThere {
			return nil, refuseStore(dir, err)
		}
		return nil, refuseFolder(dir, err)
	}
	p.said.opened.Store(true)
	p.CheckSpace()
	if err := p.Witness(); err != nil {
		o.Log(Warn, err.Error()) // the next visit may do better, and the store is whole
	}
	return p, nil
}

// openForWriting gives the lock back where it fails.
func (p *Pebble) openForWriting(isNew bool) error {
	ended, err := p.within(func() error { return p.openHere(isNew) }, func(err error) { // it may still come to an end, when the disk has room again
		if err == nil {
			_ = p.db.Close()
		}
		_ = p.lock.Close()
	})
	if ended && err != nil {
		_ = p.lock.Close()
	}
	return err
}

// within runs f, which opens a database. Pebble's own Open doesn't always return
// on a fault: it ends the process, panics, or waits for ever on a flush that
// fails in the background. A person should read a sentence. Where within returns
// before f has ended, late gets f's result, some time or never.
func (p *Pebble) within(f func() error, late func(error)) (ended bool, err error) {
	result := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				result <- panicked(r)
			}
		}()
		result <- f()
	}()
	limit := time.NewTimer(openLimit)
	defer limit.Stop()
	select {
	case err := <-result:
		return true, err
	case err = <-p.said.trouble:
	case <-limit.C:
		err = fmt.Errorf("opening it has not ended after %v", openLimit)
	}
	go func() { late(<-result) }()
	return false, err
}

func (p *Pebble) openHere(isNew bool) error {
	if isNew {
		// Pebble raises a new store's format after it has begun the first log, which
		// therefore lacks the sync offsets that checkLogs needs. The next one has them.
		db, err := p.openPebble()
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
	}
	db, err := p.openPebble()
	if err != nil {
		return err
	}
	p.db = db
	if err = p.settle(); err != nil {
		_ = p.db.Close()
	}
	return err
}

func (p *Pebble) openPebble() (*pebble.DB, error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	return pebble.Open(p.dir, &pebble.Options{
		FS: orderedFS{p.o.FS}, Lock: p.lock, Cache: cache, MemTableSize: memtableBytes, MaxOpenFiles: openFiles,
		FormatMajorVersion: formatVersion, Logger: p.said, EventListener: p.said.listener(),
	})
}

// settle brings the keys up to date and finds the end of the journal.
func (p *Pebble) settle() error {
	if err := migrate(p.db, migrations); err != nil {
		return err
	}
	if err := p.settleIdentity(); err != nil {
		return err
	}
	last, err := lastEvent(dbReader{p.db})
	p.next = last
	p.reached(last)
	return err
}
