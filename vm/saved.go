package vm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// SavedState is a guest on the disk: the file that its VMM wrote. That of a guest
// that was suspended is loaded once: a guest that ran on has changed its disks,
// and a second load of the same memory would destroy them. A known-good state is
// loaded as often as a remedy asks for it: its guest writes to no disk.
type SavedState struct {
	Incarnation Incarnation `json:"incarnation"` // whose guest it is; names the file, with Good
	At          time.Time   `json:"at"`
	Bytes       Bytes       `json:"bytes"`          // on the host's disk
	Sum         uint32      `json:"sum"`            // CRC-32C of the file
	By          string      `json:"by"`             // the kind and version of the VMM that wrote it
	Hardware    string      `json:"hardware"`       // Spec.Hardware when it was saved: it loads into the same machine alone
	Good        bool        `json:"good,omitempty"` // a known-good state, in a file of its own; else its guest was suspended
}

// Hardware is a short name of the machine that a spec describes: a saved guest
// loads into the same one alone.
func (s Spec) Hardware() string {
	b, err := json.Marshal([]any{s.CPUs, s.Memory, s.Boot, s.Disks, s.Networks})
	if err != nil {
		panic("vm: " + err.Error()) // plain values can't fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
