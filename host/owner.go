package host

import (
	"fmt"
	"os"

	"github.com/blixard/blixard/vm"
)

// FirstOwner is the first uid of the range from which VMs get their own:
// systemd's containers end at 1,879,048,191, sssd's and FreeIPA's mapped ids at
// 2,000,200,000, and systemd's foreign ids begin at 2,147,352,576
// (systemd's docs/UIDS-GIDS.md). Nothing else hands out what lies between.
const FirstOwner = 2_010_000_000

// Owners decides which unprivileged user a VM's disks, logs and VMM belong to.
// The zero value gives each VM a user of its own where we are root, so that a
// guest that breaks out of its VMM still can't read its neighbour's disk; where
// we are not root, all belong to us.
type Owners struct {
	UID int // one user for all VMs, where the operator wants one; 0: as above
	GID int // its group; 0: the same number as UID
}

// Of is the user and the group of the VM in that slot. It is a pure function of
// the slot and of who we are, so that folders and VMM always agree.
func (o Owners) Of(slot uint32) (uid, gid int) {
	return o.as(os.Geteuid(), os.Getegid(), slot)
}

func (o Owners) as(euid, egid int, slot uint32) (uid, gid int) {
	switch {
	case euid != 0:
		return euid, egid
	case o.UID != 0 && o.GID != 0:
		return o.UID, o.GID
	case o.UID != 0:
		return o.UID, o.UID
	case slot > vm.MaxSlot:
		panic(fmt.Sprintf("host: slot %d has no uid of its own", slot)) // two VMs would share one
	}
	return FirstOwner + int(slot), FirstOwner + int(slot)
}
