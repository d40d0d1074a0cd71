package policies

import (
	"fmt"

	"github.com/blixard/blixard/vm"
)

// Terms are how the node's room follows from what the machine has.
type Terms struct {
	Override   vm.Capacity // a field that isn't zero stands for what the machine says
	Overcommit vm.Overcommit
	Reserve    vm.Reserve
	DiskShare  float64 // of the disk that is kept for the host, where Reserve.Disk is zero
}

// DefaultTerms are used where the configuration says nothing.
var DefaultTerms = Terms{
	Overcommit: vm.Overcommit{CPU: 4, Memory: 1, Disk: 1}, Reserve: vm.Reserve{Memory: 512 * vm.MiB}, DiskShare: 0.05,
}

// Account is what admission decides from.
type Account struct {
	Capacity   vm.Capacity
	Overcommit vm.Overcommit
	Reserve    vm.Reserve
	Reserved   vm.Reserved
	Unknown    string // why the capacity isn't known; empty: it is
}

// Room is what can be promised in all.
func (a Account) Room() vm.Reserved { return a.Capacity.Room(a.Overcommit, a.Reserve) }

// Account reckons with what the machine says it has.
func (t Terms) Account(has vm.Capacity, reserved vm.Reserved) Account {
	for _, one := range []struct{ set, to *float64 }{{&t.Override.CPUs, &has.CPUs}} {
		if *one.set > 0 {
			*one.to = *one.set
		}
	}
	for _, one := range []struct{ set, to *vm.Bytes }{{&t.Override.Memory, &has.Memory}, {&t.Override.Disk, &has.Disk}} {
		if *one.set > 0 {
			*one.to = *one.set
		}
	}
	a := Account{Capacity: has, Overcommit: t.Overcommit, Reserve: t.Reserve, Reserved: reserved}
	if a.Reserve.Disk == 0 {
		a.Reserve.Disk = vm.Bytes(t.DiskShare * float64(has.Disk))
	}
	return a
}

// Admit decides whether a VM that holds had may hold need; nil: it may. A need
// that grows in no dimension is always admitted (P12).
func Admit(a Account, name vm.Name, had, need vm.Reservation) *vm.Refusal {
	room, sum := a.Room(), a.Reserved.Minus(had).Plus(need)
	switch {
	case need.CPUs > had.CPUs && sum.CPUs > room.CPUs:
		return noRoom(name, fmt.Sprintf("%d processors", need.CPUs))
	case need.Memory > had.Memory && sum.Memory > room.Memory:
		return noRoom(name, need.Memory.String()+" of memory")
	case need.Disk > had.Disk && sum.Disk > room.Disk:
		return noRoom(name, need.Disk.String()+" of disk")
	}
	return nil
}

func noRoom(name vm.Name, what string) *vm.Refusal {
	return &vm.Refusal{Code: vm.NoRoom, Why: fmt.Sprintf("%s needs %s", name, what), Try: "blixard node resources"}
}

// Over says of each dimension why nothing that grows is admitted; empty: it is.
func (a Account) Over() []string {
	var out []string
	room := a.Room()
	if a.Unknown != "" {
		out = append(out, a.Unknown)
	}
	if a.Reserved.CPUs > room.CPUs {
		out = append(out, fmt.Sprintf("cpu: %g reserved of %g", a.Reserved.CPUs, room.CPUs))
	}
	if a.Reserved.Memory > room.Memory {
		out = append(out, fmt.Sprintf("memory: %s reserved of %s", a.Reserved.Memory, room.Memory))
	}
	if a.Reserved.Disk > room.Disk {
		out = append(out, fmt.Sprintf("disk: %s reserved of %s", a.Reserved.Disk, room.Disk))
	}
	return out
}
