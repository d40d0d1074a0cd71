package policies

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/blixard/blixard/vm"
)

// Terms are how the node's room follows from what the machine has.
type Terms struct {
	Override   vm.Capacity // a field that isn't zero stands for what the machine says
	Overcommit vm.Overcommit
	Reserve    vm.Reserve
	DiskShare  float64 // of the disk that is kept for the host, where Reserve.Disk is zero
	Allocated  bool    // a disk counts with what it holds, not with what it may grow to
}

// DefaultTerms are used where the configuration says nothing.
var DefaultTerms = Terms{
	Overcommit: vm.Overcommit{CPU: 4, Memory: 1, Disk: 1}, Reserve: vm.Reserve{Memory: 512 * vm.MiB}, DiskShare: 0.05,
}

// Account is all that admission decides from.
type Account struct {
	Capacity   vm.Capacity
	Overcommit vm.Overcommit
	Reserve    vm.Reserve
	Reserved   vm.Reserved
	VMs        int    // that hold it
	Allocated  bool   // Reserved.Disk is what disks hold now; they may grow beyond any room
	Unknown    string // why the capacity isn't known; empty: it is
}

// Account reckons with what the machine says it has. held is what the disks of
// our VMs hold now, which is part of has.Disk.
func (t Terms) Account(has vm.Capacity, held vm.Bytes, reserved vm.Reserved, vms int) Account {
	if t.Override.CPUs > 0 {
		has.CPUs = t.Override.CPUs
	}
	if t.Override.Memory > 0 {
		has.Memory = t.Override.Memory
	}
	if t.Override.Disk > 0 {
		has.Disk = t.Override.Disk
	}
	a := Account{Capacity: has, Overcommit: t.Overcommit, Reserve: t.Reserve, Reserved: reserved, VMs: vms, Allocated: t.Allocated}
	if a.Reserve.Disk == 0 {
		a.Reserve.Disk = vm.Bytes(t.DiskShare * float64(has.Disk))
	}
	if t.Allocated {
		a.Reserved.Disk = held
	}
	return a
}

// Room is what can be promised in all.
func (a Account) Room() vm.Reserved { return a.Capacity.Room(a.Overcommit, a.Reserve) }

// Request is what somebody wants a VM to hold.
type Request struct {
	Name   vm.Name
	Had    vm.Reservation // what it counts with already; zero: it is new
	Need   vm.Reservation
	Memory vm.Bytes // of Need.Memory the guest's own; the rest is its VMM's
}

// new says whether the VM is yet to be made.
func (r Request) new() bool { return r.Had == vm.Reservation{} }

// Admit decides whether a VM may hold what is wanted; nil: it may. What grows
// in no dimension is always admitted, so that an overcommitted node can shrink;
// nothing new is while it is overcommitted in any (P12).
func Admit(a Account, r Request) *vm.Refusal {
	var short []dimension
	grows := false
	for _, d := range a.dimensions(r) {
		if d.need > d.had {
			grows = true
			if d.reserved-d.had+d.need > d.room {
				short = append(short, d)
			}
		}
	}
	over := a.Over()
	switch {
	case grows && a.Unknown != "":
		return &vm.Refusal{
			Code: vm.Unavailable, Why: fmt.Sprintf("nobody knows what %s could have: %s", r.Name, a.Unknown),
			Try: "blixard node doctor, or say what the node has: resources.cpus, .memory and .disk in the daemon's configuration",
		}
	case len(short) > 0:
		return noRoom(a, r, short)
	case r.new() && len(over) > 0:
		return &vm.Refusal{
			Code: vm.NoRoom, Why: fmt.Sprintf("%s was not admitted, as the node is overcommitted: %s", r.Name, strings.Join(over, ", ")),
			Try: "delete VMs (blixard vm delete --wait) or lower what they have until that fits: blixard node resources",
		}
	}
	return nil
}

// dimension is one of what is promised, in numbers that compare.
type dimension struct {
	name, key                                      string // "memory"; as the configuration calls it
	had, need, reserved, room, has, ratio, reserve float64
	show                                           func(float64) string
	lower                                          func(most float64) string // what would fit; empty: nothing would
}

func (a Account) dimensions(r Request) []dimension {
	room := a.Room()
	disk := dimension{
		"disk", "disk", float64(r.Had.Disk), float64(r.Need.Disk), float64(a.Reserved.Disk), float64(room.Disk),
		float64(a.Capacity.Disk), a.Overcommit.Disk, float64(a.Reserve.Disk), showBytes, lowerDisks,
	}
	if a.Allocated {
		disk.had, disk.need = 0, 0 // it holds nothing yet
	}
	return []dimension{
		{
			"processors", "cpu", float64(r.Had.CPUs), float64(r.Need.CPUs), a.Reserved.CPUs, room.CPUs,
			a.Capacity.CPUs, a.Overcommit.CPU, a.Reserve.CPUs, showNumber, lowerCPUs,
		},
		{
			"memory", "memory", float64(r.Had.Memory), float64(r.Need.Memory), float64(a.Reserved.Memory), float64(room.Memory),
			float64(a.Capacity.Memory), a.Overcommit.Memory, float64(a.Reserve.Memory), showBytes,
			func(most float64) string { return lowerMemory(most - float64(r.Need.Memory-r.Memory)) },
		},
		disk,
	}
}

// noRoom tells the need beside what is there, and what would make it fit.
func noRoom(a Account, r Request, short []dimension) *vm.Refusal {
	var whys, tries []string
	lower := true // whatever is short can be lowered enough
	for _, d := range short {
		whys = append(whys, d.why(r, a.VMs))
		fits := d.lower(max(d.room-d.reserved, 0) + d.had)
		lower = lower && fits != ""
		tries = append(tries, fits)
	}
	var options []string
	if lower {
		options = append(options, strings.Join(tries, " and "))
	}
	if a.VMs > 1 || a.VMs == 1 && r.new() {
		options = append(options, "delete VMs (blixard vm delete --wait)")
	}
	var keys []string
	for _, d := range short {
		keys = append(keys, fmt.Sprintf("resources.overcommit.%s (%s now)", d.key, showNumber(d.ratio)))
	}
	options = append(options, "raise "+strings.Join(keys, " and ")+" in the daemon's configuration and restart the daemon")
	return &vm.Refusal{Code: vm.NoRoom, Why: string(r.Name) + " needs " + strings.Join(whys, ". It needs "), Try: listed(options)}
}

// why is one dimension's shortage: "20.1 GiB of memory (20 GiB and 64 MiB for
// its VMM): 2.4 GiB of 22.5 GiB free, 20.1 GiB reserved by 1 VM; the room is
// 23 GiB × 1 − 512 MiB for the host".
func (d dimension) why(r Request, vms int) string {
	free := max(d.room-d.reserved, 0)
	if d.show(d.need) == d.show(free) {
		d.show = showExact
	}
	need := d.show(d.need) + " of " + d.name
	switch {
	case !r.new():
		need = fmt.Sprintf("%s more of %s (%s instead of %s)", d.show(d.need-d.had), d.name, d.show(d.need), d.show(d.had))
	case d.key == "memory" && r.Need.Memory > r.Memory:
		need = fmt.Sprintf("%s of memory (%s and %s for its VMM)", d.show(d.need), d.show(float64(r.Memory)), d.show(float64(r.Need.Memory-r.Memory)))
	case d.key == "cpu":
		need = howMany(d.need, "processor")
	}
	room := d.show(d.has) + " × " + showNumber(d.ratio)
	if d.reserve > 0 {
		room += " − " + d.show(d.reserve) + " for the host"
	}
	if d.reserved > d.room {
		return fmt.Sprintf("%s: none is free, as the node is overcommitted: %s of %s reserved by %s; the room is %s", need,
			d.show(d.reserved), d.show(d.room), howMany(float64(vms), "VM"), room)
	}
	return fmt.Sprintf("%s: %s of %s free, %s reserved by %s; the room is %s", need,
		d.show(free), d.show(d.room), d.show(d.reserved), howMany(float64(vms), "VM"), room)
}

func howMany(n float64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return showNumber(n) + " " + of + "s"
}

// Over says of each dimension why nothing that grows in it is admitted; empty: it is.
func (a Account) Over() []string {
	var out []string
	if a.Unknown != "" {
		out = append(out, a.Unknown)
	}
	room := a.Room()
	for _, d := range []struct {
		name           string
		reserved, room float64
		show           func(float64) string
	}{
		{"processors", a.Reserved.CPUs, room.CPUs, showNumber},
		{"memory", float64(a.Reserved.Memory), float64(room.Memory), showBytes},
		{"disk", float64(a.Reserved.Disk), float64(room.Disk), showBytes},
	} {
		if d.reserved > d.room {
			out = append(out, fmt.Sprintf("%s: %s reserved of %s", d.name, d.show(d.reserved), d.show(d.room)))
		}
	}
	return out
}

func lowerCPUs(most float64) string {
	if most < 1 {
		return ""
	}
	return fmt.Sprintf("lower cpus to at most %.0f", math.Floor(most))
}

func lowerMemory(most float64) string {
	if most < float64(vm.MiB) {
		return ""
	}
	return "lower memory to at most " + wholeMiB(most)
}

func lowerDisks(most float64) string {
	if most < float64(vm.MiB) {
		return ""
	}
	return "lower its disks to at most " + wholeMiB(most) + " together"
}

// wholeMiB is a size as a spec may say it, rounded down.
func wholeMiB(b float64) string { return (vm.Bytes(b) / vm.MiB * vm.MiB).String() }

func showNumber(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func showBytes(b float64) string { return vm.Bytes(b).Rounded() }

// showExact is for two sizes that look alike otherwise.
func showExact(b float64) string { return strconv.FormatFloat(b, 'f', 0, 64) + "B" }

// listed joins what can be done: "a, b, or c".
func listed(options []string) string {
	if len(options) < 3 {
		return strings.Join(options, ", or ")
	}
	return strings.Join(options[:len(options)-1], ", ") + ", or " + options[len(options)-1]
}
