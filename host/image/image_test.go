package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
)

func TestResolveSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	dir := t.TempDir()
	check := func(story string, want host.Kind) {
		t.Helper()
		_, err := Resolve(dir)
		if err == nil || host.KindOf(err) != want || !strings.Contains(err.Error(), "make setup build") {
			t.Errorf("%s: %v", story, err)
		}
	}
	check("nothing built", host.Gone)
	m := manifest{Format: format, Kernel: described([]byte("kernel")), Initrd: described([]byte("initrd"))}
	if err := m.write(dir, []byte("kernel"), []byte("initrd")); err != nil {
		t.Fatal(err)
	}
	if _, err := Resolve(dir); err != nil {
		t.Errorf("a whole image: %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, initrdFile), 3); err != nil {
		t.Fatal(err)
	}
	check("a torn initrd", host.Broken)
	if err := os.WriteFile(filepath.Join(dir, manifestFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("a torn manifest", host.Broken)
}

func TestFindKernelPrefersCloudThenNewest(t *testing.T) {
	root := t.TempDir()
	if _, err := FindKernel(root); host.KindOf(err) != host.Gone {
		t.Errorf("no kernel: %v", err)
	}
	for _, release := range []string{"6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.1-amd64", "7.0-cloud-without-modules"} {
		if err := os.MkdirAll(filepath.Join(root, "boot"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, "boot", "vmlinuz-"+release), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(release, "without") {
			continue
		}
		if err := os.MkdirAll(filepath.Join(root, "lib", "modules", release, "kernel"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := FindKernel(root); err != nil || k.Release != "6.1.0-56-cloud-amd64" {
		t.Errorf("found %+v, %v", k, err)
	}
}

func TestHostileKernelsAreRefused(t *testing.T) {
	header := make([]byte, 0x400)
	copy(header[0x202:], "HdrS")
	header[0x1f1] = 1
	header[0x24f] = 0xff // a payload far beyond the end
	for name, b := range map[string][]byte{"empty": nil, "short": []byte("MZ"), "no header": make([]byte, 0x400), "payload beyond the end": header} {
		if _, err := vmlinux(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := unpackLZ4([]byte{0xff, 0xff, 0xff, 0xff, 0}); !errors.Is(err, errTruncated) {
		t.Errorf("lz4 block beyond the end: %v", err)
	}
	if hasPVH([]byte("\x7fELF")) || findNote([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\x12\x00\x00\x00"), noteXen, notePVH) {
		t.Error("a PVH note in a truncated ELF")
	}
	signed := "code" + strings.Repeat("s", 5) + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05" + signatureEnd
	if got := unsigned([]byte(signed)); string(got) != "code" {
		t.Errorf("unsigned module: %q", got)
	}
}
