package vm

import "time"

// Crash is the durable record of one death.
type Crash struct {
	Number   uint64        `json:"number"` // counts the deaths of one VM, from 1
	Failure  Failure       `json:"failure"`
	Uptime   time.Duration `json:"uptime"` // from launch to death
	Decision Decision      `json:"decision"`
}

// Notes are what the run actor alone has seen of an incarnation. They are kept
// in the bundle of its death, and nowhere else.
type Notes struct {
	Argv    []string   `json:"argv,omitempty"`
	Notices []Said     `json:"notices,omitempty"` // the VMM's last words, oldest first
	Rounds  []Round    `json:"rounds,omitempty"`  // the last rounds of all checks, oldest first
	Usage   *Usage     `json:"usage,omitempty"`   // the last sample
	Node    *NodeUsage `json:"node,omitempty"`    // the machine then, with its pressure
	Dump    *Dumped    `json:"dump,omitempty"`
	Console []byte     `json:"console,omitempty"` // its end since the machine was reset in place; empty: it never was, or nobody listened
}

// Said is one event of the VMM's control socket.
type Said struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Detail string    `json:"detail,omitempty"` // bounded; may hold a guest's text
}

// Dumped is a guest's memory on the disk, or why there is none.
type Dumped struct {
	Format DumpFormat    `json:"format"`
	Bytes  Bytes         `json:"bytes"`
	Took   time.Duration `json:"took"`
	Why    string        `json:"why,omitempty"` // it failed, or there was no room
}

// Bundle is the evidence of one death: what a person gets by `vm crashes`.
type Bundle struct {
	Crash Crash  `json:"crash"`
	VM    ID     `json:"vm"`
	Name  Name   `json:"name"`
	Spec  Spec   `json:"spec"` // with which the incarnation was begun
	Notes *Notes `json:"notes,omitempty"`
	PID   int    `json:"pid,omitempty"`  // of the VMM; 0: none had begun, or it isn't known
	Core  *Core  `json:"core,omitempty"` // nil: its VMM left none
	// Lacks says what could not be taken, a sentence each.
	Lacks []string `json:"lacks,omitempty"`
}

// Core is what became of the core of a VMM that died.
type Core struct {
	Bytes Bytes  `json:"bytes,omitempty"` // that it holds of the disk
	Why   string `json:"why,omitempty"`   // it isn't in the bundle: where it went, or what was wrong with it
}

// KeptBundle is a bundle on the disk, or the guest's memory that a person asked for.
type KeptBundle struct {
	Number uint64 // of the crash; 0: of none, as a person asked for it
	At     time.Time
	Bytes  Bytes
	Dump   bool // with the guest's memory
	Core   bool // with the VMM's core
}

// Asked says that it is the guest's memory alone, which a person asked for.
func (k KeptBundle) Asked() bool { return k.Number == 0 }

// Shelves are what is kept of each VM, by number.
type Shelves map[Name][]KeptBundle

// HeldByAll is what the VMs hold together.
func HeldByAll(held map[Name]Bytes) (sum Bytes) {
	for _, b := range held {
		sum += b
	}
	return sum
}

// BundleQuota bounds what bundles may hold of the disk; the oldest go first.
type BundleQuota struct {
	Node  Bytes         // of all VMs
	VM    Bytes         // of each VM
	Count int           // of each VM
	Age   time.Duration // older ones go
}
