package persistence

import (
	"bytes"
	"sync"

	"github.com/RaduBerinde/btreemap"

	"github.com/blixard/blixard/vm"
)

// Memory is a Store without a disk: the same keys, values, bounds and promises,
// but that nothing outlives it. It is the store of a daemon in safe mode, whose
// own can't be used, and of tests: it has no goroutine and no clock, so it lives
// in synctest bubbles, and Crash cuts its power. It takes what a full store takes
// on disk, about 30 MB with KeepEvents events.
type Memory struct {
	journal

	// BeforeCommit and AfterCommit are for tests: if set, they are called around every Commit,
	// outside of any lock, so they may wait, panic or call Crash. An error of
	// BeforeCommit is the Commit's and nothing is written; an error of
	// AfterCommit is the Commit's too, but the turn is durable: both are what a
	// caller may meet. Set them before the store is used.
	BeforeCommit func(Turn) error
	AfterCommit  func(Turn) error

	mu   sync.Mutex
	keys *btreemap.BTreeMap[string, []byte]
	next uint64
	dead bool
}

var (
	_ Store = (*Memory)(nil)
	_ Store = (*Pebble)(nil)
)

// NewMemory returns an empty store.
func NewMemory() *Memory { return NewMemoryAfter(0) }

// NewMemoryAfter returns an empty store whose first event follows this number:
// with Witness.Resume, watchers of the store that was lost miss nothing of this one.
func NewMemoryAfter(last uint64) *Memory {
	m := &Memory{keys: btreemap.New[string, []byte](16, compareKeys), next: last}
	m.reached(last)
	return m
}

func compareKeys(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Crash cuts the power: it returns what the next daemon finds, without hooks,
// and every further call of the old one fails. A turn is in it whole or not at
// all; those that returned are in it.
func (m *Memory) Crash() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	after := &Memory{keys: m.keys.Clone(), next: m.next}
	after.reached(m.next)
	return after
}

// Damage makes the record of a VM unreadable, for tests of P13.
func (m *Memory) Damage(id vm.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys.ReplaceOrInsert(string(states.key(string(id))), []byte{0xff})
}

// Commit implements Store.
func (m *Memory) Commit(t Turn) (uint64, error) {
	changes, err := t.changes()
	if err != nil {
		return 0, err
	}
	entry, err := encodeEntry(t.Entry)
	if err != nil {
		return 0, err
	}
	if m.BeforeCommit != nil {
		if err := m.BeforeCommit(t); err != nil {
			return 0, err
		}
	}
	var config []byte
	if t.needsConfig() {
		config = configs.key(string(t.Record.ID))
	}
	sequence, err := m.write(changes, entry, config)
	if err == nil && m.AfterCommit != nil {
		err = m.AfterCommit(t)
	}
	if err != nil {
		return 0, err
	}
	return sequence, nil
}

// Note implements Store.
func (m *Memory) Note(e vm.Entry) (uint64, error) {
	entry, err := encodeEntry(&e)
	if err != nil {
		return 0, err
	}
	return m.write(nil, entry, nil)
}

// SetMeta implements Store.
func (m *Memory) SetMeta(key string, value []byte) error {
	_, err := m.write([]change{{key: metas.key(key), value: present(bytes.Clone(value))}}, nil, nil)
	return err
}

func (m *Memory) write(changes []change, entry, needs []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return 0, ErrClosed
	}
	if needs != nil && !m.keys.Has(string(needs)) {
		return 0, errNoConfig
	}
	m.apply(changes)
	if entry == nil {
		return 0, nil
	}
	m.next++
	m.apply(entryChanges(m.next, entry))
	m.reached(m.next)
	return m.next, nil
}

func (m *Memory) apply(changes []change) {
	for _, c := range changes {
		switch {
		case c.value != nil:
			m.keys.ReplaceOrInsert(string(c.key), c.value)
		case c.end != nil:
			var doomed []string
			for key := range m.keys.Ascend(btreemap.GE(string(c.key)), btreemap.LT(string(c.end))) {
				doomed = append(doomed, key)
			}
			for _, key := range doomed {
				m.keys.Delete(key)
			}
		default:
			m.keys.Delete(string(c.key))
		}
	}
}

// Load implements Store.
func (m *Memory) Load() ([]vm.Record, []Broken, error) { return load(m) }

// Events implements Store.
func (m *Memory) Events(after uint64, limit int) ([]vm.Entry, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return readEvents(m, after, m.LastEvent(), limit)
}

// Crashes implements Store.
func (m *Memory) Crashes(id vm.ID, limit int) ([]vm.Crash, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return readCrashes(m, id, limit)
}

func (m *Memory) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return ErrClosed
	}
	return nil
}

// Meta implements Store.
func (m *Memory) Meta(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, ErrClosed
	}
	_, value, _ := m.keys.Get(string(metas.key(key)))
	return bytes.Clone(value), nil
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	return nil
}

func (m *Memory) scan(from, to []byte, visit func(key, value []byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return ErrClosed
	}
	m.keys.AscendFunc(btreemap.GE(string(from)), btreemap.LT(string(to)), func(key string, value []byte) bool {
		return visit([]byte(key), value)
	})
	return nil
}

func (m *Memory) scanBack(from, to []byte, visit func(key, value []byte) bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return ErrClosed
	}
	m.keys.DescendFunc(btreemap.LT(string(to)), btreemap.GE(string(from)), func(key string, value []byte) bool {
		return visit([]byte(key), value)
	})
	return nil
}
