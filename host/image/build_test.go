package image

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// inputFiles makes the smallest inputs that Build takes: a kernel of a few
// bytes, a static program without code, and a kernel that has its drivers built in.
func inputFiles(t *testing.T) BuildOptions {
	t.Helper()
	dir := t.TempDir()
	o := BuildOptions{
		Kernel: filepath.Join(dir, "vmlinuz"), Modules: filepath.Join(dir, "6.1.0-test"), Init: filepath.Join(dir, "init"), Out: filepath.Join(dir, "out"),
	}
	if err := os.MkdirAll(filepath.Join(o.Modules, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, o.Kernel, []byte("kernel"))
	put(t, o.Init, staticProgram(t, 0))
	put(t, filepath.Join(o.Modules, "modules.builtin"), []byte("kernel/a/virtio_mmio.ko\nkernel/b/virtio-console.ko\n"))
	return o
}

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// staticProgram is an ELF header alone; those of different entries differ.
func staticProgram(t *testing.T, entry uint64) []byte {
	t.Helper()
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: entry, Ehsize: 64,
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// made builds and returns the bytes of the initrd and what tells a file that
// was written anew from the one that was there.
func made(t *testing.T, o BuildOptions) (initrd []byte, file os.FileInfo) {
	t.Helper()
	img, err := Build(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if initrd, err = os.ReadFile(img.Initrd); err != nil {
		t.Fatal(err)
	}
	if file, err = os.Stat(img.Initrd); err != nil {
		t.Fatal(err)
	}
	return initrd, file
}

func TestSameInputsGiveTheSameBytesAnywhere(t *testing.T) {
	one, _ := made(t, inputFiles(t))
	other, _ := made(t, inputFiles(t))
	if !bytes.Equal(one, other) {
		t.Errorf("the same inputs gave %d bytes here and %d other ones there", len(one), len(other))
	}
}

func TestAnImageIsBuiltAnewOnlyWhenItMust(t *testing.T) {
	o := inputFiles(t)
	_, first := made(t, o)
	if _, again := made(t, o); !os.SameFile(first, again) {
		t.Error("nothing changed, and it was built anew")
	}
	for _, c := range []struct {
		story  string
		change func()
	}{
		{"another init program", func() { put(t, o.Init, staticProgram(t, 1)) }},
		{"another kernel", func() { put(t, o.Kernel, []byte("kernel 2")) }},
		{"a torn initrd", func() {
			if err := os.Truncate(filepath.Join(o.Out, initrdFile), 3); err != nil {
				t.Fatal(err)
			}
		}},
		{"a damaged manifest", func() { put(t, filepath.Join(o.Out, manifestFile), []byte("{")) }},
	} {
		_, before := made(t, o)
		c.change()
		b, after := made(t, o)
		if os.SameFile(before, after) {
			t.Errorf("%s: the old image was kept", c.story)
		}
		if len(b) < 100 {
			t.Errorf("%s: an initrd of %d bytes", c.story, len(b))
		}
	}
	put(t, o.Init, []byte("#!/bin/sh\n"))
	if _, err := Build(context.Background(), o); err == nil {
		t.Error("a script was taken as init program")
	}
}
