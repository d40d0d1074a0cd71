package persistence

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/blixard/blixard/vm"
)

// Commit implements Store.
func (p *Pebble) Commit(t Turn) (uint64, error) {
	changes, err := t.changes()
	if err != nil {
		return 0, err
	}
	entry, err := encodeEntry(t.Entry)
	if err != nil {
		return 0, err
	}
	var config []byte
	if t.needsConfig() {
		config = configs.key(string(t.Record.ID))
	}
	return p.write(changes, entry, config)
}

// Note implements Store.
func (p *Pebble) Note(e vm.Entry) (uint64, error) {
	entry, err := encodeEntry(&e)
	if err != nil {
		return 0, err
	}
	return p.write(nil, entry, nil)
}

// SetMeta implements Store.
func (p *Pebble) SetMeta(key string, value []byte) error {
	_, err := p.write([]change{{key: metas.key(key), value: present(value)}}, nil, nil)
	return err
}

// present tells an empty value from no value, which would delete the key.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// write makes one batch durable. Many at once share a sync. needs, if not nil,
// is a key that must be there.
func (p *Pebble) write(changes []change, entry, needs []byte) (uint64, error) {
	begun := time.Now()
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.leave()
	sequence, err := p.writeSynced(changes, entry, needs)
	if err != nil {
		p.failed.Add(1)
		return 0, err
	}
	p.commits.Add(1)
	p.o.Observe(time.Since(begun))
	return sequence, nil
}

func (p *Pebble) writeSynced(changes []change, entry, needs []byte) (uint64, error) {
	if needs != nil {
		if err := p.has(needs); err != nil {
			return 0, err
		}
	}
	batch := p.db.NewBatch()
	if err := addTo(batch, changes); err != nil {
		return 0, err
	}
	sequence, err := p.handOver(batch, entry)
	if err != nil {
		return 0, err
	}
	// SyncWait returns the error of the log, where Commit would end the process
	// before its caller heard of it.
	if err := batch.SyncWait(); err != nil {
		return 0, p.breakDown(err)
	}
	if sequence > 0 {
		p.reached(sequence)
	}
	_ = batch.Close() // gives memory back; it is durable already
	return sequence, nil
}

func (p *Pebble) has(key []byte) error {
	_, closer, err := p.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return errNoConfig
	}
	if err != nil {
		return fmt.Errorf("reading %s: %v", key, err)
	}
	return closer.Close()
}

// handOver numbers the entry and puts the batch into the log, in one order for
// all: so the sync of an entry covers every entry before it.
func (p *Pebble) handOver(batch *pebble.Batch, entry []byte) (sequence uint64, err error) {
	p.order.Lock()
	defer p.order.Unlock()
	defer func() {
		if r := recover(); r != nil { // Pebble panics where its log's writer has ended
			err = p.breakDown(panicked(r))
		}
	}()
	if err := p.broke(); err != nil {
		return 0, err
	}
	if entry != nil {
		p.next++
		sequence = p.next
		if err := addTo(batch, entryChanges(sequence, entry)); err != nil {
			return 0, p.breakDown(err)
		}
	}
	if batch.Empty() {
		return 0, errors.New("an empty batch")
	}
	if err := p.db.ApplyNoSyncWait(batch, pebble.Sync); err != nil {
		return 0, p.breakDown(err)
	}
	return sequence, nil
}

func addTo(batch *pebble.Batch, changes []change) error {
	for _, c := range changes {
		var err error
		switch {
		case c.value != nil:
			err = batch.Set(c.key, c.value, nil)
		case c.end != nil:
			err = batch.DeleteRange(c.key, c.end, nil)
		default:
			err = batch.Delete(c.key, nil)
		}
		if err != nil {
			return fmt.Errorf("building a batch: %v", err)
		}
	}
	return nil
}

func panicked(r any) error {
	if err, ok := r.(error); ok {
		return err
	}
	return fmt.Errorf("%v", r)
}
