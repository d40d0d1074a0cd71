package vm

import (
	"slices"
	"time"
)

// Remedy is a way to heal a guest that is sick while its VMM lives.
type Remedy string

// The remedies, from the mildest on.
const (
	RemedyReset   Remedy = "reset"   // the machine's reset button: the same incarnation boots again
	RemedyRestore Remedy = "restore" // the state that was saved when the guest became healthy
	RemedyRestart Remedy = "restart" // asked to power off, killed when the time is up, and started
	RemedyKill    Remedy = "kill"    // killed and started
	RemedyHold    Remedy = "hold"    // killed and given up: a person decides
)

// Rung is one step of a VM's ladder of remedies. The first that is not used up
// and fits the cause is taken; where none is left, the guest is killed and
// supervision decides alone. A reset of the budget makes all unused.
type Rung struct {
	Do    Remedy  `json:"do"`
	Times int     `json:"times,omitempty"` // before the next rung is taken; 0: without limit
	For   []Cause `json:"for,omitempty"`   // empty: for all that is charged
}

// Restores says whether a remedy of the VM loads its known-good state.
func (s Spec) Restores() bool {
	return slices.ContainsFunc(s.Remedies, func(r Rung) bool { return r.Do == RemedyRestore })
}

// Dump says when a guest's memory is written down before its VMM is killed, and
// whether a VMM that crashes leaves a core.
type Dump struct {
	On      []Cause       `json:"on,omitempty"`     // guest-panic, health-failed; empty: never
	Format  DumpFormat    `json:"format,omitempty"` // empty: kdump
	Timeout time.Duration `json:"timeout,omitempty"`
	Core    bool          `json:"core,omitempty"` // of the VMM, without the guest's memory; it holds what passed through its devices
}

// DumpFormat is how a guest's memory is written.
type DumpFormat string

// The formats.
const (
	DumpKdump DumpFormat = "kdump" // compressed; crash(8) reads it
	DumpELF   DumpFormat = "elf"   // as large as the memory; gdb reads it
)

// Seed is what cloud-init finds on a disk at the first boot (NoCloud).
type Seed struct {
	Hostname string   `json:"hostname,omitempty"` // empty: the VM's name
	SSHKeys  []string `json:"sshKeys,omitempty"`  // lines of authorized_keys
	UserData string   `json:"userData,omitempty"` // whole, as cloud-init reads it; empty: made of the rest
	Network  string   `json:"network,omitempty"`  // network-config, whole; empty: none
}

// None says that the VM has no seed.
func (s Seed) None() bool {
	return s.Hostname == "" && len(s.SSHKeys) == 0 && s.UserData == "" && s.Network == ""
}
