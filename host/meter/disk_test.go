package meter

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestSparseDiskHoldsLittleAndMayGrow(t *testing.T) {
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(dir+"/disks", 0o700))
	must(os.WriteFile(dir+"/disks/root.raw", make([]byte, 1<<20), 0o600))
	must(os.Truncate(dir+"/disks/root.raw", 1<<30))
	image := make([]byte, 64<<10)
	copy(image, "QFI\xfb\x00\x00\x00\x03")
	binary.BigEndian.PutUint64(image[24:], 2<<30)
	must(os.WriteFile(dir+"/disks/more.qcow2", image, 0o600))

	allocated, virtual := (&Meter{}).disk(dir)
	if allocated < vm.MiB || allocated > 2*vm.MiB || virtual != 3*vm.GiB {
		t.Errorf("holds %d, may grow to %d", allocated, virtual)
	}
}

func TestNothingIsFollowedOutOfTheFolder(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(outside+"/big", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"file": outside + "/big", "folder": outside, "loop": dir, "disk.qcow2": outside + "/big"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if a, v := (&Meter{}).disk(dir); a != 0 || v != 0 {
		t.Errorf("counted %d, %d by links", a, v)
	}
	link := filepath.Join(outside, "vm")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if a, _ := (&Meter{}).disk(link); a != 0 {
		t.Errorf("counted %d below a link", a)
	}
}

func TestHostileFolderIsBounded(t *testing.T) {
	dir := t.TempDir()
	in := dir
	for range 50 { // deeper than anything that is looked at
		in = filepath.Join(in, "d")
		if err := os.Mkdir(in, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(in+"/deep", make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxFiles {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 { // more than can be held
		path := fmt.Sprintf("%s/d/%d.qcow2", dir, i)
		image := make([]byte, 32)
		copy(image, "QFI\xfb")
		binary.BigEndian.PutUint64(image[24:], ^uint64(0))
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if a, v := (&Meter{}).disk(dir); a >= vm.MiB || v < 0 {
		t.Errorf("counted %d, %d", a, v)
	}
	if err := os.Symlink("/dev/zero", dir+"/zero.qcow2"); err != nil {
		t.Fatal(err)
	}
	if n := qcow2(-1, "nothing"); n != 0 {
		t.Errorf("an image that isn't there may grow to %d", n)
	}
}
