package persistence

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/blixard/blixard/vm"
)

// Load implements Store.
func (p *Pebble) Load() ([]vm.Record, []Broken, error) {
	if err := p.enter(); err != nil {
		return nil, nil, err
	}
	defer p.leave()
	return load(dbReader{p.db})
}

// Events implements Store.
func (p *Pebble) Events(after uint64, limit int) ([]vm.Entry, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	return readEvents(dbReader{p.db}, after, p.LastEvent(), limit)
}

// Crashes implements Store.
func (p *Pebble) Crashes(id vm.ID, limit int) ([]vm.Crash, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	return readCrashes(dbReader{p.db}, id, limit)
}

// Meta implements Store.
func (p *Pebble) Meta(key string) ([]byte, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	return get(p.db, metas.key(key))
}

// get copies a value; nil: there is none.
func get(db *pebble.DB, key []byte) ([]byte, error) {
	value, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %v", key, err)
	}
	out := present(bytes.Clone(value))
	return out, closer.Close()
}

// dbReader reads what the database shows now, which includes batches whose sync is under way.
type dbReader struct{ db *pebble.DB }

func (r dbReader) scan(from, to []byte, visit func(key, value []byte) bool) error {
	return r.walk(from, to, visit, (*pebble.Iterator).First, (*pebble.Iterator).Next)
}

func (r dbReader) scanBack(from, to []byte, visit func(key, value []byte) bool) error {
	return r.walk(from, to, visit, (*pebble.Iterator).Last, (*pebble.Iterator).Prev)
}

func (r dbReader) walk(
	from, to []byte, visit func(key, value []byte) bool, first, next func(*pebble.Iterator) bool,
) error {
	it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return err
	}
	for ok := first(it); ok; ok = next(it) {
		value, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if !visit(it.Key(), value) {
			break
		}
	}
	return it.Close() // returns the error that ended the walk
}
