package persistence

import (
	"errors"

	"github.com/blixard/blixard/vm"
)

// Bounds of what is kept. Both are pruned in the batch that exceeds them.
const (
	KeepEvents  = 100_000 // about 30 MB of journal: weeks of a busy node
	KeepCrashes = 50      // of each VM: enough to see a pattern; the evidence is bounded where it is born
)

// ErrClosed is the error of every method after Close, and of a Memory whose power was cut.
var ErrClosed = errors.New("the store is closed")

// Turn is what one turn of a VM's actor makes durable, whole or not at all.
type Turn struct {
	Record vm.Record
	// Whole: spec and reservation changed too (creation, new spec).
	Whole bool
	// Removed deletes the VM's keys instead of writing them; its events stay.
	Removed bool
	Entry   *vm.Entry // its Sequence is given by the store
	Crash   *vm.Crash // numbers count by one for each VM; not with Removed
}

// Store is the durable memory of the node. All methods may be called from any
// goroutine; none blocks longer than one sync. The turns of one VM must come
// one after the other; those of many VMs share a sync.
type Store interface {
	// Load returns every record that can be read, sorted by ID, and for each
	// that can't, its reason: one broken record never keeps the others from
	// running (P13). An error means that the store itself can't be read.
	Load() ([]vm.Record, []Broken, error)
	// Commit writes the turn, synced, and returns its entry's sequence number
	// (0 without one). An error means that nothing is promised, not that nothing
	// was written: the caller must not act on the turn, and must not repeat it.
	Commit(t Turn) (uint64, error)
	// Note writes an entry of the node itself, synced.
	Note(e vm.Entry) (uint64, error)
	// Events returns up to limit entries with a sequence number above after, in
	// order and without holes: an entry shows only when all before it are durable.
	// It starts at the oldest entry that is kept. One that can't be read has the
	// kind Unreadable.
	Events(after uint64, limit int) ([]vm.Entry, error)
	// LastEvent is the newest sequence number that Events would return.
	LastEvent() uint64
	// Changed returns a channel that is closed when LastEvent grows. Take the
	// channel first and read the events then: nothing is missed.
	Changed() <-chan struct{}
	// Crashes returns the newest crash records of a VM, newest first. They may
	// show a moment before they are durable.
	Crashes(id vm.ID, limit int) ([]vm.Crash, error)
	// Meta reads and SetMeta writes a small value of the node, such as the last
	// boot id; the write is synced. Nil: never set.
	Meta(key string) ([]byte, error)
	SetMeta(key string, value []byte) error
	// Close waits for the writes under way. A second Close does nothing.
	Close() error
}

// Broken is a record that can't be read. Its VM may still run: its name, its
// slot and its reservation stay taken, as far as they can be read.
type Broken struct {
	ID   vm.ID
	Name vm.Name // empty: not known either
	Slot uint32  // 0: not known either
	// Reservation stays promised; zero: not known either.
	Reservation vm.Reservation
	Why         string
}

// Unreadable is the kind of an entry whose value can't be decoded.
const Unreadable = "Unreadable"
