package policies_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// small is a machine of 2 processors, 23 GiB and 100 GiB of disk.
var small = vm.Capacity{CPUs: 2, Memory: 23 * vm.GiB, Disk: 100 * vm.GiB}

func reserved(cpus float64, memory, disk vm.Bytes) vm.Reserved {
	return vm.Reserved{CPUs: cpus, Memory: memory, Disk: disk}
}

func TestRefusalsTellTheNumbers(t *testing.T) {
	web := func(cpus int, memory, disk vm.Bytes) policies.Request {
		return policies.Request{Name: "web", Need: vm.Reservation{CPUs: cpus, Memory: memory + 64*vm.MiB, Disk: disk}, Memory: memory}
	}
	grows := web(2, vm.GiB, 10*vm.GiB)
	grows.Had = vm.Reservation{CPUs: 1, Memory: 512*vm.MiB + 64*vm.MiB, Disk: 10 * vm.GiB}
	shrinks := web(1, 256*vm.MiB, 0)
	shrinks.Had = vm.Reservation{CPUs: 2, Memory: 2 * vm.GiB}
	unknown := policies.DefaultTerms.Account(small, 0, vm.Reserved{}, 0)
	unknown.Unknown = "read the size of memory: no MemTotal"
	held := policies.DefaultTerms
	held.Allocated = true
	cases := []struct {
		what string
		a    policies.Account
		r    policies.Request
	}{
		{"there is room", policies.DefaultTerms.Account(small, 0, vm.Reserved{}, 0), web(1, vm.GiB, vm.GiB)},
		{"the second of 20 GiB", policies.DefaultTerms.Account(small, 0, reserved(1, 20*vm.GiB+100*vm.MiB, 0), 1), web(1, 20*vm.GiB, 0)},
		{"exactly what is left", policies.DefaultTerms.Account(small, 0, reserved(1, 20*vm.GiB, 0), 1), web(1, 2*vm.GiB+448*vm.MiB, 0)},
		{"a byte more", policies.DefaultTerms.Account(small, 0, reserved(1, 20*vm.GiB+1, 0), 1), web(1, 2*vm.GiB+448*vm.MiB, 0)},
		{"nothing is left", policies.DefaultTerms.Account(small, 0, reserved(8, 22*vm.GiB+512*vm.MiB, 0), 8), web(1, vm.GiB, 0)},
		{"more is promised than there is", policies.DefaultTerms.Account(small, 0, reserved(8, 30*vm.GiB, 0), 8), web(1, vm.GiB, 0)},
		{"too few processors", policies.DefaultTerms.Account(small, 0, reserved(6, vm.GiB, 0), 3), web(4, vm.GiB, 0)},
		{"too large for the disk", policies.DefaultTerms.Account(small, 0, reserved(1, vm.GiB, 60*vm.GiB), 2), web(1, vm.GiB, 40*vm.GiB)},
		{"all three, on an empty node", policies.DefaultTerms.Account(vm.Capacity{CPUs: 1, Memory: vm.GiB, Disk: vm.GiB}, 0, vm.Reserved{}, 0), web(64, vm.GiB, vm.GiB)},
		{"a growth that fits in one and not in the other", policies.DefaultTerms.Account(small, 0, reserved(7, 22*vm.GiB+400*vm.MiB, 20*vm.GiB), 3), grows},
		{"a shrink on an overcommitted node", policies.DefaultTerms.Account(small, 0, reserved(20, 50*vm.GiB, 0), 9), shrinks},
		{"a new one without a disk where the disk is overcommitted", policies.DefaultTerms.Account(small, 0, reserved(1, vm.GiB, 200*vm.GiB), 3), web(1, vm.GiB, 0)},
		{"a machine that doesn't say what it has", unknown, web(1, vm.GiB, 0)},
		{"a sparse disk where it counts with what it holds", held.Account(small, 10*vm.GiB, reserved(1, vm.GiB, 500*vm.GiB), 2), web(1, vm.GiB, 200*vm.GiB)},
		{"and where less than the reserve is free", held.Account(small, 96*vm.GiB, reserved(1, vm.GiB, 500*vm.GiB), 2), web(1, vm.GiB, vm.GiB)},
	}
	var b strings.Builder
	for _, one := range cases {
		fmt.Fprintf(&b, "%s\n", one.what)
		if r := policies.Admit(one.a, one.r); r != nil {
			fmt.Fprintf(&b, "  %s: %s\n  try: %s\n\n", r.Code, r.Why, r.Try)
		} else {
			b.WriteString("  admitted\n\n")
		}
	}
	golden(t, "testdata/admission.txt", b.String())
}

func TestRoomIsNeverNegativeNorAnAccident(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Map(rapid.Int64Range(0, math.MaxInt64), func(n int64) vm.Bytes { return vm.Bytes(n) })
		terms := policies.DefaultTerms
		terms.Overcommit = vm.Overcommit{
			CPU: rapid.Float64Range(0.01, 10_000).Draw(t, "cpu"), Memory: rapid.Float64Range(0.01, 10_000).Draw(t, "memory"), Disk: 1,
		}
		terms.Reserve.Memory = size.Draw(t, "reserve")
		a := terms.Account(vm.Capacity{CPUs: 1, Memory: size.Draw(t, "has"), Disk: size.Draw(t, "disk")}, 0, vm.Reserved{}, 0)
		if room := a.Room(); room.CPUs < 0 || room.Memory < 0 || room.Disk < 0 {
			t.Fatalf("room %+v of %+v", room, a)
		}
	})
}

// TestWhatARefusalSaysFitsFits follows the advice of refusals.
func TestWhatARefusalSaysFitsFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := policies.DefaultTerms.Account(small, 0, reserved(
			float64(rapid.IntRange(0, 8).Draw(t, "cpus")), vm.Bytes(rapid.Int64Range(0, int64(22*vm.GiB)).Draw(t, "memory")),
			vm.Bytes(rapid.Int64Range(0, int64(95*vm.GiB)).Draw(t, "disk")),
		), 3)
		guest := vm.Bytes(rapid.Int64Range(1, 64).Draw(t, "guest")) * vm.GiB
		r := policies.Request{Name: "web", Memory: guest, Need: vm.Reservation{
			CPUs: rapid.IntRange(1, 16).Draw(t, "need"), Memory: guest + 64*vm.MiB, Disk: vm.Bytes(rapid.Int64Range(0, 200).Draw(t, "grow")) * vm.GiB,
		}}
		refusal := policies.Admit(a, r)
		if refusal == nil {
			return
		}
		lowered := false
		for _, word := range []struct {
			before string
			scan   func(string)
		}{
			{"lower cpus to at most ", func(s string) { _, _ = fmt.Sscanf(s, "%d", &r.Need.CPUs) }},
			{"lower memory to at most ", func(s string) { r.Memory = mebibytes(s); r.Need.Memory = r.Memory + 64*vm.MiB }},
			{"lower its disks to at most ", func(s string) { r.Need.Disk = mebibytes(s) }},
		} {
			if _, rest, ok := strings.Cut(refusal.Try, word.before); ok {
				lowered = true
				word.scan(rest)
			}
		}
		if again := policies.Admit(a, r); lowered && again != nil {
			t.Fatalf("%s\ntry: %s\nand then: %s", refusal.Why, refusal.Try, again.Why)
		}
	})
}

func mebibytes(s string) vm.Bytes {
	var n vm.Bytes
	var unit string
	_, _ = fmt.Sscanf(s, "%d%3s", &n, &unit)
	if unit == "GiB" {
		return n * vm.GiB
	}
	return n * vm.MiB
}

// BenchmarkAdmit is a decision with its hold, on a node that has ten thousand VMs.
func BenchmarkAdmit(b *testing.B) {
	var book policies.Book
	one := vm.Reservation{CPUs: 1, Memory: 160 * vm.MiB, Disk: vm.GiB}
	for i := range 10_000 {
		book.Know(vm.ID(fmt.Sprintf("%016x", i)), one)
	}
	has := vm.Capacity{CPUs: 1e6, Memory: 1 << 50, Disk: 1 << 50}
	for b.Loop() {
		a := policies.DefaultTerms.Account(has, 0, book.Sum(), book.Len())
		if r := policies.Admit(a, policies.Request{Name: "web", Need: one, Memory: 128 * vm.MiB}); r != nil {
			b.Fatal(r)
		}
		book.Settle("web", book.Hold("web", one), one, false)
	}
}

// BenchmarkRefuse is the slower end: the sentence with the numbers.
func BenchmarkRefuse(b *testing.B) {
	a := policies.DefaultTerms.Account(small, 0, reserved(8, 22*vm.GiB, 94*vm.GiB), 10_000)
	r := policies.Request{Name: "web", Need: vm.Reservation{CPUs: 4, Memory: 2 * vm.GiB, Disk: 10 * vm.GiB}, Memory: vm.GiB}
	for b.Loop() {
		if policies.Admit(a, r) == nil {
			b.Fatal("it was admitted")
		}
	}
}
