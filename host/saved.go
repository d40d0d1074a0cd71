package host

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/blixard/blixard/vm"
)

// States keeps saved guests in the folders of their VMs. A file has its name
// from the incarnation whose guest it holds, and until it is whole and synced it
// has another: so there is never half a guest under a name that is loaded.
type States interface {
	// NewState begins a file for the guest of the incarnation, which takes at most
	// limit bytes, in place of an earlier try, and of a suspended one, whose guest
	// has run on; good: for its known-good state. Where the disk has no room for
	// them, it fails as Transient, before the guest is halted for it.
	NewState(ctx context.Context, ref vm.Ref, good bool, limit vm.Bytes) (StateFile, error)
	// Kept is the whole file of the incarnation's suspended guest, as Keep told of
	// it; Gone where there is none. It reads all of it.
	Kept(ctx context.Context, ref vm.Ref) (vm.SavedState, error)
	// CheckState says why a saved guest can't be loaded: Broken where it is gone
	// or isn't what was written. It reads the whole file.
	CheckState(ctx context.Context, ref vm.Ref, s vm.SavedState) error
	// HasState says whether a saved guest's file is there, as long as it was written:
	// Broken where it isn't. It reads nothing of it, and takes microseconds.
	HasState(ref vm.Ref, s vm.SavedState) error
	// DropStates removes what the record doesn't name, of incarnations before its
	// own; and at rest, of its own too. Repeating it is safe.
	DropStates(ctx context.Context, r vm.Record) error
}

// StateFile is a saved guest that is being written.
type StateFile interface {
	io.Writer
	// Keep makes the file durable under its name. After that a power cut finds it whole.
	Keep(ctx context.Context) (vm.SavedState, error)
	// Drop gives up what was not kept. Repeating it is safe.
	Drop()
}

// File is one that the VMM inherits, opened for reading. Where Argv says
// {fd:NAME}, the launcher puts the descriptor's number.
type File struct {
	Name string // saved
	Path string
}

const (
	statePrefix = "saved-"
	goodPrefix  = "good-"
	stateSuffix = ".state"
	stateCut    = ".tmp" // behind the name of one that isn't whole
)

// StateName is what the name of a saved guest's file says.
type StateName struct {
	Of    vm.Incarnation // whose guest it is
	Good  bool           // its known-good state; else it was suspended
	Whole bool
}

// String is the name.
func (n StateName) String() string {
	prefix, end := statePrefix, stateCut
	if n.Good {
		prefix = goodPrefix
	}
	if n.Whole {
		end = ""
	}
	return fmt.Sprintf("%s%d%s%s", prefix, n.Of, stateSuffix, end)
}

// StateOf reads the name of a saved guest's file.
func StateOf(name string) (n StateName, ok bool) {
	rest, cut := strings.CutSuffix(name, stateCut)
	n.Whole = !cut
	rest, n.Good = strings.CutPrefix(rest, goodPrefix)
	if !n.Good {
		rest, ok = strings.CutPrefix(rest, statePrefix)
	}
	if !ok && !n.Good {
		return StateName{}, false
	}
	if _, err := fmt.Sscanf(rest, "%d"+stateSuffix, &n.Of); err != nil {
		return StateName{}, false
	}
	return n, n.String() == name
}

// State is the place of the suspended guest of an incarnation.
func (p Paths) State(n vm.Incarnation) string {
	return filepath.Join(p.Folder, StateName{Of: n, Whole: true}.String())
}

// Saved is the place of a saved guest.
func (p Paths) Saved(s vm.SavedState) string {
	return filepath.Join(p.Folder, StateName{Of: s.Incarnation, Good: s.Good, Whole: true}.String())
}

// NamedBy says whether a record names the file: nothing loads any other.
func (n StateName) NamedBy(s vm.State) bool {
	of := s.Saved
	if n.Good {
		of = s.Good
	}
	return n.Whole && of != nil && of.Incarnation == n.Of
}
