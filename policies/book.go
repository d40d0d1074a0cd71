package policies

import (
	"maps"
	"slices"

	"github.com/blixard/blixard/vm"
)

// Book is what is promised to each VM, and the sum of it, kept at each change
// so that no decision looks at every VM. The zero value is empty.
//
//	Hold ──▶ a turn is under way: the VM counts with the larger of before and after
//	  └──▶ Settle   it is durable, or was refused: the VM counts with what is durable
//	Stand           its durable record holds something else by now
//	Know            a record that exists, whether there is room or not
//	Forget          the record is gone
type Book struct {
	promises map[vm.ID]*promise
	sum      vm.Reserved
	turns    uint64
}

// promise is one VM's.
type promise struct {
	stands vm.Reservation            // by its durable record; zero: there is none yet
	known  bool                      // it has a durable record
	turns  map[uint64]vm.Reservation // under way; nil: none
	counts vm.Reservation            // in the sum
}

// Sum is what is promised in all.
func (b *Book) Sum() vm.Reserved { return b.sum }

// Len is how many VMs have a promise.
func (b *Book) Len() int { return len(b.promises) }

// Of is what a VM counts with.
func (b *Book) Of(id vm.ID) vm.Reservation {
	if p := b.promises[id]; p != nil {
		return p.counts
	}
	return vm.Reservation{}
}

// Promised are the VMs that have a promise, in no order.
func (b *Book) Promised() []vm.ID { return slices.Collect(maps.Keys(b.promises)) }

// Hold counts a turn that is under way, and numbers it.
func (b *Book) Hold(id vm.ID, r vm.Reservation) uint64 {
	p := b.promise(id)
	if p.turns == nil {
		p.turns = map[uint64]vm.Reservation{}
	}
	b.turns++
	p.turns[b.turns] = r
	b.count(id, p)
	return b.turns
}

// Settle ends a turn, and counts what the record holds since, where the turn is
// durable: it may be more than the turn held, as a VMM keeps what it was launched
// with. A turn that nobody holds any more changes nothing.
func (b *Book) Settle(id vm.ID, turn uint64, holds vm.Reservation, durable bool) {
	p := b.promises[id]
	if p == nil {
		return
	}
	if _, held := p.turns[turn]; !held {
		return
	}
	if delete(p.turns, turn); len(p.turns) == 0 {
		p.turns = nil
	}
	if durable {
		p.stands, p.known = holds, true
	}
	b.count(id, p)
}

// Stand counts what a durable record holds by now, and leaves the turns that are
// under way. One that has no record any more stays without.
func (b *Book) Stand(id vm.ID, r vm.Reservation) {
	if p := b.promises[id]; p != nil && p.known {
		p.stands = r
		b.count(id, p)
	}
}

// Know counts a durable record, and drops every turn that was under way: its
// actor begins anew from that record.
func (b *Book) Know(id vm.ID, r vm.Reservation) {
	p := b.promise(id)
	p.stands, p.known, p.turns = r, true, nil
	b.count(id, p)
}

// Forget gives back what a VM held. Repeating it is safe.
func (b *Book) Forget(id vm.ID) {
	if p := b.promises[id]; p != nil {
		p.known, p.stands, p.turns = false, vm.Reservation{}, nil
		b.count(id, p)
	}
}

func (b *Book) promise(id vm.ID) *promise {
	if b.promises == nil {
		b.promises = map[vm.ID]*promise{}
	}
	p := b.promises[id]
	if p == nil {
		p = &promise{}
		b.promises[id] = p
	}
	return p
}

// count brings the sum up to date with one VM.
func (b *Book) count(id vm.ID, p *promise) {
	now := p.stands
	for _, r := range p.turns {
		now = now.Max(r)
	}
	b.sum = b.sum.Minus(p.counts).Plus(now)
	p.counts = now
	if !p.known && p.turns == nil {
		delete(b.promises, id)
	}
}
