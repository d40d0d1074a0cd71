package folders

import (
	"slices"
	"sync"

	"github.com/blixard/blixard/vm"
)

// preparation is what one Prepare that succeeded has made sure of.
type preparation struct {
	incarnation vm.Incarnation
	disks       []vm.Disk // that are made here, and durable
	needs       []need    // that the VMM's user could open
	seed        string    // the sum of the seed that its disk was made of; empty: it has none
	uid, gid    int
}

// stood says whether the next Prepare may trust what this one was told of the
// VMM's rights: the VMM used them, as its guest answered. If somebody took one
// away meanwhile, this start fails, its guest doesn't answer, and the Prepare
// after it asks the kernel again and names what is in the way.
func (p preparation) stood(now preparation, s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Failure.Ready && s.LastExit.Failure.Incarnation == p.incarnation &&
		now.incarnation == p.incarnation+1 && p.uid == now.uid && p.gid == now.gid && slices.Equal(p.needs, now.needs)
}

// known is the last preparation of each VM in the life of this daemon.
type known struct {
	mu sync.Mutex
	by map[vm.ID]preparation
}

// of is the zero preparation where none is known: it proves nothing.
func (k *known) of(id vm.ID) preparation {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.by[id]
}

func (k *known) keep(id vm.ID, p preparation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.by == nil {
		k.by = map[vm.ID]preparation{}
	}
	k.by[id] = p
}

func (k *known) forget(id vm.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.by, id)
}
