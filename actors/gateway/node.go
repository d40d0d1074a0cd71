// Package gateway is the socket's door: it admits callers, turns public
// messages into asks, and streams events, logs and consoles. It knows the
// actor tree only through Node.
package gateway

import (
	"context"
	"io"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// Node is what the gateway needs of the tree. Reads never wait for an actor,
// so status is answered in every phase (P11). An error is a *vm.Refusal where
// a person can do something about it.
type Node interface {
	Create(ctx context.Context, c messages.Create) (vm.Record, error)
	Ask(ctx context.Context, name vm.Name, a messages.Ask) (vm.Record, error)
	// Exec runs a command through the guest agent; what it wrote comes back bounded.
	Exec(ctx context.Context, name vm.Name, argv []string) (host.ExecResult, error)
	// Get and List read the last durable record of each VM, sorted by name.
	Get(name vm.Name) (vm.Record, bool)
	List() []vm.Record
	// Changed returns a channel that is closed at the next change of that VM.
	Changed(name vm.Name) <-chan struct{}
	// Tree tells of every actor, parents first.
	Tree() []Actor
	Status() Status
	Doctor(ctx context.Context) []Finding
}

// Journal is the part of the store that the gateway reads.
type Journal interface {
	Events(after uint64, limit int) ([]vm.Entry, error)
	LastEvent() uint64
	Changed() <-chan struct{}
	Crashes(id vm.ID, limit int) ([]vm.Crash, error)
	Note(e vm.Entry) (uint64, error)
}

// Consoles gives the consoles' files and sockets.
type Consoles interface {
	host.Console
	// Dial opens the interactive console of a running VM.
	Dial(ctx context.Context, f host.Paths) (io.ReadWriteCloser, error)
}

// Actor is one line of `node tree`.
type Actor struct {
	Path  string
	State string
	Since time.Time
	Bugs  int // how often it failed by a bug of ours
}

// Status is the node at a glance.
type Status struct {
	Version         string
	StartedAt       time.Time
	BootID          vm.BootID
	Launcher        string
	Accel           string
	StateDir        string
	Goroutines, FDs int
	Broken          []string // records that can't be read, VMs that are parked
}

// Finding is one line of `node doctor`.
type Finding struct {
	Check string // "kvm"
	State string // ok | warn | fail
	Why   string
	Try   string
}
