package qemu

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// PVHMark is what every PVH guest writes to COM1 as soon as it runs.
const PVHMark = "BLIXARD-PVH-UP\r\n"

// PVHEnd is what a PVH guest does once it has written its mark.
type PVHEnd []byte

// The ends. Those for microvm write to the ACPI event device and need acpi=on.
var (
	// PVHHalts sleeps for ever with interrupts off: no CPU time is used.
	PVHHalts = PVHEnd{}
	// PVHResets loads an empty interrupt table and traps: a triple fault resets the machine.
	PVHResets = PVHEnd{0x6a, 0x00, 0x6a, 0x00, 0x0f, 0x01, 0x1c, 0x24, 0xcc}
	// PVHPanics tells the pvpanic device at port 0x505 that the kernel panicked.
	PVHPanics = PVHEnd{0x66, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee}
	// PVHPowersOff writes S5 and SLP_EN to the sleep control register of microvm's event device.
	PVHPowersOff = PVHEnd{0xc6, 0x05, 0x00, 0x02, 0xa0, 0xfe, 0x34}
	// PVHFloods writes the letter x to COM1 for ever.
	PVHFloods = PVHEnd{0x66, 0xba, 0xf8, 0x03, 0xb0, 'x', 0xee, 0xeb, 0xfd}
)

// pvhBase is where the guest is loaded: the first byte above the legacy megabyte.
const pvhBase = 0x100000

// PVHGuest is an ELF kernel of some 300 bytes that is entered by the PVH boot
// protocol, writes PVHMark to COM1 and halts for ever. It needs no firmware
// service, no device and 8 MiB: the cheapest guest that proves that a VMM runs
// code, for tests of supervision and scale.
func PVHGuest() []byte { return PVHGuestThat(PVHHalts) }

// PVHGuestThat is a PVHGuest with another end than halting.
func PVHGuestThat(end PVHEnd) []byte { return pvhELF(pvhCode(nil, end)) }

// probeGuest shows its mark only after what a kernel does and what a KVM that
// emulates instead of running can't do, or not in time.
func probeGuest() []byte { return pvhELF(pvhCode(likeAKernel, PVHHalts)) }

// pvhELF wraps code in what a PVH loader wants.
func pvhELF(code []byte) []byte {
	note := pvhNote()
	const header, programs, offset = 52, 2, 0x80 // ELF header, two program headers of 32 bytes, then the code
	var out bytes.Buffer
	put := func(fields ...any) {
		for _, f := range fields {
			_ = binary.Write(&out, binary.LittleEndian, f) // a bytes.Buffer can't fail
		}
	}
	put([16]byte{0x7f, 'E', 'L', 'F', 1, 1, 1}, uint16(2), uint16(3), uint32(1), uint32(pvhBase), uint32(header), uint32(0), uint32(0))
	put(uint16(header), uint16(32), uint16(programs), uint16(0), uint16(0), uint16(0))
	segment := func(kind, at, size, flags uint32) {
		put(kind, offset+at, pvhBase+at, pvhBase+at, size, size, flags, uint32(4))
	}
	codeSize, noteSize := uint32(len(code)), uint32(len(note))
	segment(1, 0, codeSize+noteSize, 7) // PT_LOAD, rwx
	segment(4, codeSize, noteSize, 4)   // PT_NOTE, r
	put(make([]byte, offset-out.Len()), code, note)
	return out.Bytes()
}

// likeAKernel goes to long mode with paging, runs 100 million instructions
// there (20 ms on a CPU, minutes in an emulator), and does the locked 16-byte
// exchange of Linux' slab allocator, at which an emulating KVM ends in an
// internal error. It must be the first code, for it knows its addresses.
var likeAKernel = []byte{
	0xbc, 0x00, 0x00, 0x20, 0x00, // mov esp, 2 MiB
	0xbf, 0x00, 0x00, 0x30, 0x00, 0x31, 0xc0, 0xb9, 0x00, 0x0c, 0x00, 0x00, 0xf3, 0xab, // clear three page tables at 3 MiB
	0xc7, 0x05, 0x00, 0x00, 0x30, 0x00, 0x03, 0x10, 0x30, 0x00, // level 4 → level 3
	0xc7, 0x05, 0x00, 0x10, 0x30, 0x00, 0x03, 0x20, 0x30, 0x00, // level 3 → level 2
	0xc7, 0x05, 0x00, 0x20, 0x30, 0x00, 0x83, 0x00, 0x00, 0x00, // the first 2 MiB
	0xc7, 0x05, 0x08, 0x20, 0x30, 0x00, 0x83, 0x00, 0x20, 0x00, // the next 2 MiB
	0xb8, 0x00, 0x00, 0x30, 0x00, 0x0f, 0x22, 0xd8, // cr3 = 3 MiB
	0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, // cr4 |= PAE
	0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x0d, 0x00, 0x01, 0x00, 0x00, 0x0f, 0x30, // EFER |= LME
	0x0f, 0x20, 0xc0, 0x0d, 0x01, 0x00, 0x00, 0x80, 0x0f, 0x22, 0xc0, // cr0 |= PG, PE
	0x0f, 0x01, 0x15, 0x8b, 0x00, 0x10, 0x00, // lgdt [0x10008b]
	0xea, 0x91, 0x00, 0x10, 0x00, 0x08, 0x00, // jmp 8:0x100091
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, // 0x100073: the null segment
	0xff, 0xff, 0x00, 0x00, 0x00, 0x9a, 0xaf, 0x00, // 64-bit code
	0xff, 0xff, 0x00, 0x00, 0x00, 0x92, 0xcf, 0x00, // data
	0x17, 0x00, 0x73, 0x00, 0x10, 0x00, // 0x10008b: size and address of the table
	0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8, 0x8e, 0xd0, 0x8e, 0xc0, // 0x100091: data segments
	0xb9, 0x00, 0x00, 0x00, 0x03, 0xff, 0xc9, 0x75, 0xfc, // 50 million times dec ecx; jnz
	0xbf, 0x00, 0x00, 0x18, 0x00, 0xf0, 0x48, 0x0f, 0xc7, 0x0f, // lock cmpxchg16b [1.5 MiB]
}

// pvhCode is x86 that means the same in 32 and 64 bits: do what comes first,
// write the mark, do the end, halt.
func pvhCode(first []byte, end PVHEnd) []byte {
	write := []byte{
		0xbe, 0, 0, 0, 0, // mov esi, mark
		0xbc, 0, 0, 0x20, 0, // mov esp, 2 MiB
		0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8 (COM1)
		0xfc,             // cld
		0xac, 0x84, 0xc0, // next: lodsb; test al, al
		0x74, 0x03, 0xee, 0xeb, 0xf8, // jz done; out dx, al; jmp next
	}
	halt := []byte{0xfa, 0xf4, 0xeb, 0xfc} // cli; hlt; and again, should an NMI wake it
	code := slices.Concat(first, write, end, halt)
	mark := pvhBase + uint32(len(code))
	binary.LittleEndian.PutUint32(code[len(first)+1:], mark)
	code = append(append(code, PVHMark...), 0)
	for len(code)%4 != 0 {
		code = append(code, 0)
	}
	return code
}

// pvhNote is XEN_ELFNOTE_PHYS32_ENTRY: where a PVH loader jumps to.
func pvhNote() []byte {
	note := make([]byte, 0, 20)
	for _, word := range []uint32{4, 4, 18} { // size of the name, size of the value, type
		note = binary.LittleEndian.AppendUint32(note, word)
	}
	note = append(note, "Xen\x00"...)
	return binary.LittleEndian.AppendUint32(note, pvhBase)
}
