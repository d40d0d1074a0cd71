package policies

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// small is a machine of 2 processors, 23 GiB and 100 GiB of disk.
var small = vm.Capacity{CPUs: 2, Memory: 23 * vm.GiB, Disk: 100 * vm.GiB}

// ledger is a node as the book's owner sees it: what is asked of it in any
// order, what the disk holds, and what is under way.
type ledger struct {
	book   Book
	has    vm.Capacity
	disk   map[vm.ID]vm.Reservation // durable
	turns  []turnUnderWay
	next   int
	shrunk bool // the machine lost something, or a VM was taken in unasked
}

type turnUnderWay struct {
	id      vm.ID
	number  uint64
	need    vm.Reservation
	written bool
	creates bool
}

func (l *ledger) account() Account {
	return DefaultTerms.Account(l.has, 0, l.book.Sum(), l.book.Len())
}

func (l *ledger) durable() (sum vm.Reserved) {
	for _, r := range l.disk {
		sum = sum.Plus(r)
	}
	return sum
}

func drawNeed(t *rapid.T) vm.Reservation {
	return vm.Reservation{
		CPUs: rapid.IntRange(1, 4).Draw(t, "cpus"), Memory: vm.Bytes(rapid.IntRange(1, 40).Draw(t, "memory")) * 128 * vm.MiB,
		Disk: vm.Bytes(rapid.IntRange(0, 30).Draw(t, "disk")) * vm.GiB,
	}
}

// ask is a creation, or a new spec of one of those that exist.
func (l *ledger) ask(t *rapid.T, id vm.ID, creates bool) {
	need := drawNeed(t)
	if Admit(l.account(), Request{Name: "x", Had: l.book.Of(id), Need: need}) == nil {
		l.turns = append(l.turns, turnUnderWay{id: id, number: l.book.Hold(id, need), need: need, creates: creates})
	}
}

func (l *ledger) anyone(t *rapid.T) (vm.ID, bool) {
	if len(l.disk) == 0 {
		return "", false
	}
	ids := make([]vm.ID, 0, len(l.disk))
	for i := range l.next {
		if id := vm.ID(fmt.Sprintf("%016x", i)); l.disk[id] != (vm.Reservation{}) {
			ids = append(ids, id)
		}
	}
	return rapid.SampledFrom(ids).Draw(t, "vm"), true
}

// TestNoInterleavingPromisesMoreThanThereIs: under any order of creations, new
// specs, writes, refusals, deletions and restarts, neither the disk nor the book
// ever holds more than there is room for, and no hold outlives its turn (P12).
func TestNoInterleavingPromisesMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{has: small, disk: map[vm.ID]vm.Reservation{}}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				id := vm.ID(fmt.Sprintf("%016x", l.next))
				l.next++
				l.ask(t, id, true)
			},
			"respec": func(t *rapid.T) {
				if id, ok := l.anyone(t); ok {
					l.ask(t, id, false)
				}
			},
			"write": func(t *rapid.T) { // the first of them that waits: a VM's turns come in order
				for i := range l.turns {
					if u := &l.turns[i]; !u.written && (u.creates || l.disk[u.id] != vm.Reservation{}) {
						u.written, l.disk[u.id] = true, u.need
						return
					}
				}
			},
			"settle": func(t *rapid.T) {
				if len(l.turns) > 0 {
					u := l.turns[0]
					l.turns = l.turns[1:]
					l.book.Settle(u.id, u.number, l.disk[u.id], u.written)
				}
			},
			"launched with more, and ended": func(t *rapid.T) {
				id, ok := l.anyone(t)
				if !ok || slices.ContainsFunc(l.turns, func(u turnUnderWay) bool { return u.id == id }) {
					return
				}
				less := l.disk[id]
				less.CPUs, less.Memory = 1, less.Memory/2
				l.disk[id] = less
				l.book.Stand(id, less)
			},
			"settle again": func(t *rapid.T) {
				l.book.Settle("nobody", 1, drawNeed(t), true)
				l.book.Stand("nobody", drawNeed(t))
			},
			"delete": func(t *rapid.T) {
				if id, ok := l.anyone(t); ok {
					delete(l.disk, id)
					l.book.Forget(id)
				}
			},
			"the actor begins anew": func(t *rapid.T) {
				if id, ok := l.anyone(t); ok {
					l.book.Know(id, l.disk[id])
					l.turns = without(l.turns, id)
				}
			},
			"the daemon begins anew": func(*rapid.T) {
				l.book, l.turns = Book{}, nil
				for id, r := range l.disk {
					l.book.Know(id, r)
				}
				if l.book.Sum() != l.durable() {
					t.Fatalf("the book holds %+v, the records %+v", l.book.Sum(), l.durable())
				}
			},
			"take in": func(t *rapid.T) {
				id, r := vm.ID(fmt.Sprintf("%016x", l.next)), drawNeed(t)
				l.next++
				l.disk[id], l.shrunk = r, true
				l.book.Know(id, r)
			},
			"shrink": func(*rapid.T) { l.has.Memory, l.shrunk = l.has.Memory/2, true },
			"":       func(t *rapid.T) { l.check(t) },
		})
	})
}

func without(turns []turnUnderWay, id vm.ID) (out []turnUnderWay) {
	for _, u := range turns {
		if u.id != id {
			out = append(out, u)
		}
	}
	return out
}

func (l *ledger) check(t *rapid.T) {
	room, sum, disk := l.account().Room(), l.book.Sum(), l.durable()
	if !l.shrunk && (sum.CPUs > room.CPUs || sum.Memory > room.Memory || sum.Disk > room.Disk) {
		t.Fatalf("%+v are promised of %+v", sum, room)
	}
	if disk.CPUs > sum.CPUs || disk.Memory > sum.Memory || disk.Disk > sum.Disk {
		t.Fatalf("the disk holds %+v, the book knows of %+v", disk, sum)
	}
	if len(l.turns) == 0 && sum != disk {
		t.Fatalf("nothing is under way, and the book holds %+v for %+v", sum, disk)
	}
	var each vm.Reserved
	for _, p := range l.book.promises {
		each = each.Plus(p.counts)
	}
	if each != sum {
		t.Fatalf("the sum is %+v, its parts are %+v", sum, each)
	}
}

func TestAVMCountsWithTheLargerWhileItsSpecChanges(t *testing.T) {
	var b Book
	two, one := vm.Reservation{CPUs: 2, Memory: vm.GiB}, vm.Reservation{CPUs: 1, Memory: 2 * vm.GiB}
	b.Settle("a", b.Hold("a", two), two, true)
	turn := b.Hold("a", one)
	if want := (vm.Reserved{CPUs: 2, Memory: 2 * vm.GiB}); b.Sum() != want {
		t.Errorf("under way it counts with %+v, want %+v", b.Sum(), want)
	}
	b.Settle("a", turn, one, true)
	if want := (vm.Reserved{CPUs: 1, Memory: 2 * vm.GiB}); b.Sum() != want {
		t.Errorf("then with %+v, want %+v", b.Sum(), want)
	}
	b.Forget("a")
	b.Forget("a")
	if b.Sum() != (vm.Reserved{}) || b.Len() != 0 {
		t.Errorf("it is gone, and %+v are left", b.Sum())
	}
}
