package actors

import (
	"sync"

	"github.com/blixard/blixard/vm"
)

// balloons is what the balloons leave to their guests, by the last word of each
// VMM that was asked. One whose balloon was never filled is not in it.
type balloons struct {
	mu   sync.RWMutex
	left map[vm.ID]balloonLeft
}

type balloonLeft struct {
	incarnation vm.Incarnation
	bytes       vm.Bytes
}

func (b *balloons) set(id vm.ID, n vm.Incarnation, left vm.Bytes) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == nil {
		b.left = map[vm.ID]balloonLeft{}
	}
	b.left[id] = balloonLeft{n, left}
}

// of is false for another incarnation's balloon too.
func (b *balloons) of(id vm.ID, n vm.Incarnation) (vm.Bytes, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	one, ok := b.left[id]
	return one.bytes, ok && one.incarnation == n
}

// keep forgets all but those VMs.
func (b *balloons) keep(live map[vm.ID]vm.Incarnation) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id := range b.left {
		if live[id] != b.left[id].incarnation {
			delete(b.left, id)
		}
	}
}
