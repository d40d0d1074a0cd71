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
	// limit bytes, in place of an earlier try, and of one whose guest has run on. Where the disk has no room for them,
	// it fails as Transient, before the guest is halted for it.
	NewState(ctx context.Context, ref vm.Ref, limit vm.Bytes) (StateFile, error)
	// Kept is the whole file of the incarnation's guest, as Keep told of it; Gone
	// where there is none. It reads all of it.
	Kept(ctx context.Context, ref vm.Ref) (vm.SavedState, error)
	// CheckState says why a saved guest can't be loaded: Broken where it is gone
	// or isn't what was written. It reads the whole file.
	CheckState(ctx context.Context, ref vm.Ref, s vm.SavedState) error
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
	stateSuffix = ".state"
	stateCut    = ".tmp" // behind the name of one that isn't whole
)

// State is the place of the saved guest of an incarnation.
func (p Paths) State(n vm.Incarnation) string {
	return filepath.Join(p.Folder, fmt.Sprintf("%s%d%s", statePrefix, n, stateSuffix))
}

// StateTry is its place until it is whole.
func (p Paths) StateTry(n vm.Incarnation) string { return p.State(n) + stateCut }

// StateOf reads the name of a saved guest's file.
func StateOf(name string) (n vm.Incarnation, whole, ok bool) {
	rest, whole := name, true
	if cut, found := strings.CutSuffix(rest, stateCut); found {
		rest, whole = cut, false
	}
	if _, err := fmt.Sscanf(rest, statePrefix+"%d"+stateSuffix, &n); err != nil {
		return 0, false, false
	}
	return n, whole, rest == fmt.Sprintf("%s%d%s", statePrefix, n, stateSuffix)
}
