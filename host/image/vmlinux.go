package image

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// maxUnpacked bounds what a compressed kernel or module may grow to; Debian's
// cloud kernel has 40 MiB.
const maxUnpacked = 256 << 20

var (
	magicGzip = []byte{0x1f, 0x8b}
	magicXZ   = []byte{0xfd, '7', 'z', 'X', 'Z', 0}
	magicZstd = []byte{0x28, 0xb5, 0x2f, 0xfd}
	magicLZ4  = []byte{0x02, 0x21, 0x4c, 0x18} // legacy frame, as the kernel's build writes it
	magicELF  = []byte(elf.ELFMAG)
)

var (
	errNotBzImage = errors.New("not a bzImage")
	errTooLarge   = fmt.Errorf("unpacks to more than %d MiB", maxUnpacked>>20)
	errTruncated  = errors.New("truncated")
)

// vmlinux returns the ELF kernel inside of a bzImage. Offsets are those of the
// x86 boot protocol, 2.08 and later (Documentation/arch/x86/boot.rst).
func vmlinux(bzImage []byte) ([]byte, error) {
	if bytes.HasPrefix(bzImage, magicELF) {
		return bzImage, nil
	}
	if len(bzImage) < 0x260 || string(bzImage[0x202:0x206]) != "HdrS" {
		return nil, errNotBzImage
	}
	setup := int64(bzImage[0x1f1])
	if setup == 0 {
		setup = 4
	}
	start := (setup+1)*512 + int64(binary.LittleEndian.Uint32(bzImage[0x248:]))
	end := start + int64(binary.LittleEndian.Uint32(bzImage[0x24c:]))
	if start >= end || end > int64(len(bzImage)) {
		return nil, fmt.Errorf("payload of the bzImage: %w", errTruncated)
	}
	out, err := unpack(bzImage[start:end])
	if err != nil {
		return nil, fmt.Errorf("unpacking the payload of the bzImage: %w", err)
	}
	if !bytes.HasPrefix(out, magicELF) {
		return nil, errors.New("the payload of the bzImage is no ELF")
	}
	return out, nil
}

// unpack decompresses by magic; what has none is returned as it is.
func unpack(b []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, magicLZ4):
		return unpackLZ4(b[len(magicLZ4):])
	case bytes.HasPrefix(b, magicGzip):
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		r.Multistream(false) // the kernel's build may append the size
		return readBounded(r)
	case bytes.HasPrefix(b, magicZstd):
		r, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderMaxWindow(maxUnpacked))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readZstd(r)
	case bytes.HasPrefix(b, magicXZ):
		r, err := xz.NewReader(bytes.NewReader(b), maxUnpacked)
		if err != nil {
			return nil, err
		}
		r.Multistream(false)
		return readBounded(r)
	}
	return b, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err != nil {
		return nil, err
	}
	if len(out) > maxUnpacked {
		return nil, errTooLarge
	}
	return out, nil
}

// readZstd reads one frame. The four bytes of size that the kernel's build
// appends look like a broken second frame, and are no error.
func readZstd(r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, maxUnpacked+1))
	if n > maxUnpacked {
		return nil, errTooLarge
	}
	if err != nil && (n == 0 || !errors.Is(err, zstd.ErrMagicMismatch) && !errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil, err
	}
	return out.Bytes(), nil
}

// unpackLZ4 reads blocks of the legacy frame: a length, then a block of at most
// 8 MiB unpacked. The kernel's build appends the unpacked size, four bytes.
func unpackLZ4(b []byte) ([]byte, error) {
	const blockSize = 8 << 20
	var out []byte
	for len(b) > 4 {
		n := int64(binary.LittleEndian.Uint32(b))
		b = b[4:]
		if n > int64(len(b)) {
			return nil, fmt.Errorf("lz4 block: %w", errTruncated)
		}
		if len(out)+blockSize > maxUnpacked+blockSize {
			return nil, errTooLarge
		}
		start := len(out)
		out = append(out, make([]byte, blockSize)...)
		got, err := lz4.UncompressBlock(b[:n], out[start:])
		if err != nil {
			return nil, err
		}
		out, b = out[:start+got], b[n:]
	}
	return out, nil
}

// noteXen and notePVH name the ELF note that holds the address of a kernel's
// PVH entry (XEN_ELFNOTE_PHYS32_ENTRY).
const (
	noteXen = "Xen\x00"
	notePVH = 18
)

// hasPVH says whether the ELF kernel can be entered by PVH.
func hasPVH(kernel []byte) bool {
	f, err := elf.NewFile(bytes.NewReader(kernel))
	if err != nil {
		return false
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err == nil && findNote(notes, noteXen, notePVH) {
			return true
		}
	}
	return false
}

// findNote walks ELF notes: three words (length of name, length of content,
// type), then both, each padded to four bytes.
func findNote(b []byte, name string, kind uint32) bool {
	pad := func(n uint64) uint64 { return (n + 3) &^ 3 }
	for len(b) >= 12 {
		nameSize, size := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
		got := binary.LittleEndian.Uint32(b[8:])
		b = b[12:]
		if pad(nameSize)+pad(size) > uint64(len(b)) {
			return false
		}
		if got == kind && string(b[:nameSize]) == name {
			return true
		}
		b = b[pad(nameSize)+pad(size):]
	}
	return false
}
