// Package persistence keeps what must survive: the records of the VMs, the
// journal of events and the crash records, in Pebble.
//
// A turn is one synced batch (P3):
//
//	vm_configs   the spec           written when it changed
//	vm_states    the state          written each turn
//	vm_resources the reservation    written when it changed
//	events       one Entry          at most one a turn
//	crashes      one Crash          where an incarnation ended
package persistence

import "github.com/blixard/blixard/vm"

// Turn is what one turn of a VM's actor makes durable, whole or not at all.
type Turn struct {
	Record vm.Record
	// Whole: spec and reservation changed too (creation, new spec).
	Whole bool
	// Removed deletes the VM's keys instead of writing them; its events stay.
	Removed bool
	Entry   *vm.Entry
	Crash   *vm.Crash
}

// Store is the durable memory of the node. All methods may be called from any
// goroutine; none blocks longer than one sync.
type Store interface {
	// Load returns every record that can be read, and for each that can't, its
	// reason: one broken record never keeps the others from running (P13).
	Load() ([]vm.Record, []Broken, error)
	// Commit writes the turn, synced, and returns its entry's sequence number
	// (0 without one). An error means that nothing is promised: the caller must
	// not act on the turn.
	Commit(t Turn) (uint64, error)
	// Note writes an entry of the node itself, synced.
	Note(e vm.Entry) (uint64, error)
	// Events returns up to limit entries with a sequence number above after, in
	// order and without holes: an entry shows only when all before it are durable.
	Events(after uint64, limit int) ([]vm.Entry, error)
	// LastEvent is the newest sequence number that Events would return.
	LastEvent() uint64
	// Changed returns a channel that is closed when LastEvent grows.
	Changed() <-chan struct{}
	// Crashes returns the newest crash records of a VM, newest first.
	Crashes(id vm.ID, limit int) ([]vm.Crash, error)
	// Meta reads and SetMeta writes a small value of the node, such as the last boot id. Nil: never set.
	Meta(key string) ([]byte, error)
	SetMeta(key string, value []byte) error
	Close() error
}

// Broken is a record that can't be read.
type Broken struct {
	ID  vm.ID
	Why string
}
