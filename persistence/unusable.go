package persistence

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/blixard/blixard/vm"
)

// Trouble is what is wrong with the content of a store.
type Trouble string

// The troubles. Opening again changes none of them.
const (
	Damaged Trouble = "damaged" // it can't be read, or what was durable isn't in it
	Older   Trouble = "older"   // it ends before what its witness saw: a copy was put back, or its end was lost
	Missing Trouble = "missing" // the witness saw a store, and there is none
	Newer   Trouble = "newer"   // a newer version of the program wrote it
	Foreign Trouble = "foreign" // it is another store than the witness's, another node's, or no store of ours
)

// Unusable is the error of an Open that failed because of what the folder holds.
// Nothing in the folder was changed, so it can be set aside whole. A daemon that
// meets it goes on without: see Memory.
type Unusable struct {
	Kind Trouble
	*vm.Refusal
}

// Unwrap makes it a refusal like every other error of Open.
func (u *Unusable) Unwrap() error { return u.Refusal }

// unusable is said where the trouble is found; Open adds the folder.
func unusable(kind Trouble, why string, args ...any) error {
	u := &Unusable{Kind: kind, Refusal: &vm.Refusal{Code: vm.Unavailable, Why: fmt.Sprintf(why, args...)}}
	switch kind {
	case Newer:
		u.Try = "start the version that wrote it, or a newer one"
	case Foreign:
		u.Try = "choose another folder, or blixard node repair"
	case Damaged, Missing:
		u.Try = "blixard node repair: running VMs live on"
	case Older:
		u.Try = "blixard node repair, or, where a backup was put there on purpose, remove the witness: running VMs live on"
	}
	return u
}

func refuseSecond(dir string, pid int) *vm.Refusal {
	who := "another daemon"
	if pid != 0 {
		who = fmt.Sprintf("a daemon that runs already (pid %d)", pid)
	}
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("the state folder %s belongs to %s", dir, who),
		Try: "stop that one first, or choose another folder",
	}
}

// refuseFolder says in one line why the folder can't be used.
func refuseFolder(dir string, err error) error {
	r := &vm.Refusal{Code: vm.Unavailable}
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		r.Code, r.Why = vm.Invalid, fmt.Sprintf("the state folder %s is not a folder", dir)
		r.Try = "choose another path"
	case errors.Is(err, syscall.EROFS):
		r.Why, r.Try = fmt.Sprintf("the state folder %s is on a read-only file system", dir), "mount it writable"
	case errors.Is(err, os.ErrPermission):
		r.Why = fmt.Sprintf("the state folder %s may not be read and written by uid %d", dir, os.Geteuid())
		r.Try = "give it to that user, or start as its owner"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		r.Why, r.Try = fmt.Sprintf("no space is left on the disk of the state folder %s", dir), "free at least 8 MiB there"
	default:
		r.Why = fmt.Sprintf("the store in %s can't be opened: %s", dir, oneLine(err))
	}
	return r
}

// refuseStore is refuseFolder for a folder that holds a store: what isn't the
// machine's fault is the content's.
func refuseStore(dir string, err error) error {
	if u, ok := errors.AsType[*Unusable](err); ok {
		u.Why = fmt.Sprintf("the store in %s can't be used: %s", dir, u.Why)
		return u
	}
	for _, machine := range []error{
		syscall.EROFS, os.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
	} {
		if errors.Is(err, machine) {
			return refuseFolder(dir, err)
		}
	}
	return refuseStore(dir, unusable(Damaged, "it is damaged: %s", oneLine(err)))
}

// oneLine bounds what a library says.
func oneLine(err error) string { return vm.OneLine(err.Error(), 300) }
