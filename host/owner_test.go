package host

import (
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestOwnerOfASlot(t *testing.T) {
	for name, c := range map[string]struct {
		o          Owners
		euid, egid int
		slot       uint32
		uid, gid   int
	}{
		"root, a user for each VM":         {Owners{}, 0, 0, 7, FirstOwner + 7, FirstOwner + 7},
		"root, the last slot":              {Owners{}, 0, 0, vm.MaxSlot, FirstOwner + vm.MaxSlot, FirstOwner + vm.MaxSlot},
		"root, one user for all":           {Owners{UID: 990}, 0, 0, 7, 990, 990},
		"root, one user and another group": {Owners{UID: 990, GID: 36}, 0, 0, 7, 990, 36},
		"not root: only ourselves":         {Owners{UID: 990}, 1000, 100, 7, 1000, 100},
	} {
		uid, gid := c.o.as(c.euid, c.egid, c.slot)
		if uid != c.uid || gid != c.gid {
			t.Errorf("%s: got %d:%d, want %d:%d", name, uid, gid, c.uid, c.gid)
		}
	}
}

func TestTwoVMsNeverShareAUser(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a slot beyond the range was given a user that belongs to another system")
		}
	}()
	Owners{}.as(0, 0, vm.MaxSlot+1)
}
