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
	// Needs is what the node would hold for a VM of that spec, new or known, and an
	// error where it would refuse it. Nothing is held.
	Needs(s vm.Spec) (vm.Reservation, error)
	// Exec runs a command through the guest agent; what it wrote comes back bounded.
	Exec(ctx context.Context, name vm.Name, argv []string) (host.ExecResult, error)
	// Dump writes a guest's memory to the node's disk, and says where it is.
	Dump(ctx context.Context, name vm.Name, format vm.DumpFormat, by messages.Caller) (path string, size vm.Bytes, err error)
	// Missed says why deaths of a VM have no bundle, by the number of the crash.
	Missed(id vm.ID) map[uint64]string
	// BundleQuota bounds what is kept of deaths.
	BundleQuota() vm.BundleQuota
	// Get and List read the last durable record of each VM, sorted by name.
	Get(name vm.Name) (vm.Record, bool)
	List() []vm.Record
	// Changed returns a channel that is closed at the next change of that VM.
	Changed(name vm.Name) <-chan struct{}
	// Tree tells of every actor, parents first.
	Tree() []Actor
	Status() Status
	// Resources is what the node has, what is promised of it and what is used;
	// with fresh, a sample is taken now if the last one is over a second old.
	Resources(ctx context.Context, fresh bool) (vm.NodeResources, error)
	// Usage is the last sample of that VM; zero: none was taken of what lives now.
	Usage(name vm.Name) vm.Usage
	// Limits are what a VM of that record is held to here, and which of them can't hold.
	Limits(r vm.Record) (vm.Limits, vm.Holding)
	Doctor(ctx context.Context) []Finding
	// Plan is what the reconciler would do about what it found at its last look,
	// or, with fresh, at one made now. It does nothing.
	Plan(ctx context.Context, fresh bool) (Plan, error)
	// ApplyPlan does what waits for a person, all or those with the ids named,
	// and says of each what became of it.
	ApplyPlan(ctx context.Context, ids []string, by messages.Caller) (Plan, error)
	// Restore moves back what was put into quarantine under that name.
	Restore(ctx context.Context, name string, by messages.Caller) error
	// Repair ends safe mode: the damaged store is moved aside, and a new one is
	// written from what runs and from the manifests. Refused where the node is well.
	Repair(ctx context.Context, by messages.Caller) (Repaired, error)
	// Shutdown stops every VM gracefully in reverse order within the time; their
	// intent stays, so that they come back at the next boot of the node (P5).
	Shutdown(ctx context.Context, within time.Duration, by messages.Caller) error
}

// Plan is what is wrong on the host, and what is done about it.
type Plan struct {
	At      time.Time // of the look that it follows from; zero: none was made yet
	Actions []Action
}

// Action is one line of a plan.
type Action struct {
	ID    string // names it for ApplyPlan; stays the same as long as what it is about does
	Do    string // kill | remove-link | remove-run | quarantine | report | …
	What  string // what it is about: "process 4711 of web-1/3", a path, a link
	VM    vm.Name
	Why   string    // the reason, a sentence
	State string    // due: at the next look | waiting: until NotBefore | person: for `node plan --apply` | done | failed | told: nothing is done
	After time.Time // waiting: not before this
	Error string    // failed: why
}

// Repaired is what a repair did.
type Repaired struct {
	Aside string // where the damaged store is now
	VMs   int
	Lines []string // what a person has to know, a sentence each
}

// Bootstrap is how far the node's boot has come.
type Bootstrap struct {
	State     string // none: the node did not boot anew | running | done
	BootID    vm.BootID
	Policy    string // restart-all | restart-healthy | manual
	StartedAt time.Time
	EndedAt   time.Time // zero while it runs
	EndsAbout time.Time // an estimate; zero: not known yet
	Limit     int       // how many may start at once now
	Pressure  string    // why nothing more is started now, or empty
	Waiting   []vm.Name // in their order
	Starting  []vm.Name
	Ready     int
	Failed    int      // did not come up; supervision goes on with them
	Held      []string // "db: was given up: crash 6 in 10m", a line each
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
	SafeMode        string   // why the node starts and deletes nothing; empty: it doesn't
	LowSpace        string   // why nothing that grows is admitted; empty: it is
	Bootstrap       Bootstrap
	Waiting         int // actions of the plan that wait for a person
	Alerts          []vm.Alert
}

// Finding is one line of `node doctor`.
type Finding struct {
	Check string // "kvm"
	State string // ok | warn | fail
	Why   string
	Try   string
}
