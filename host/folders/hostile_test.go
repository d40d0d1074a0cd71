package folders

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestLinksAreNeverFollowed(t *testing.T) {
	f := newFolders(t)
	outside := filepath.Join(filepath.Dir(f.State), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := record("web-1", 1)
	at := prepared(t, f, r)
	uid, _ := f.Owners.Of(r.Slot)

	for story, path := range map[string]string{"a log": at.Log, "a disk": at.Disk("root")} {
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, path); err != nil {
			t.Fatal(err)
		}
		wantKind(t, "prepare over "+story+" that is a link", f.Prepare(t.Context(), r), host.Broken)
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(victim, &st); err != nil || int(st.Uid) == uid && os.Geteuid() == 0 {
		t.Errorf("the file behind the link was given to the VMM: %v", err)
	}
	if err := os.Symlink(outside, filepath.Join(at.Folder, "link")); err != nil {
		t.Fatal(err)
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, at.Folder); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "prepare in a folder that is a link", f.Prepare(t.Context(), r), host.Broken)
	wantKind(t, "discard of a folder that is a link", f.Discard(t.Context(), r.Ref()), host.Denied)
	if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
		t.Errorf("P14: what lies outside was changed: %q, %v", b, err)
	}
}

func TestADiskNameCannotLeaveTheFolder(t *testing.T) {
	f := newFolders(t)
	for _, name := range []string{"../evil", "", ".", "a/b", ".hidden"} {
		r := record("web-1", 1)
		r.Spec.Disks[0].Name = name
		wantKind(t, "disk "+name, f.Prepare(t.Context(), r), host.Broken)
	}
}

func TestAFullDiskSaysHowMuchIsLeft(t *testing.T) {
	f := newFolders(t)
	if err := unix.Mount("tmpfs", f.State, "tmpfs", 0, "size=64k,nr_inodes=6,mode=711"); err != nil {
		t.Skipf("no small file system to fill: %v", err)
	}
	defer func() { _ = unix.Unmount(f.State, unix.MNT_DETACH) }()
	if err := os.Mkdir(filepath.Join(f.State, "vms"), 0o711); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "no room", f.Prepare(t.Context(), record("web-1", 1)), host.Transient, " left")
	if err := unix.Mount("", f.State, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "read-only", f.Prepare(t.Context(), record("web-2", 1)), host.Broken, "writable")
}

func TestADiskTooLargeForTheFileSystemIsBroken(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	r.Spec.Disks[0].Size = 1 << 62
	wantKind(t, "4 EiB", f.Prepare(t.Context(), r), host.Broken, "4611686018427387904")
}

func TestWhatTheVMMCannotOpenIsNamed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives VMs users of their own")
	}
	f := newFolders(t)
	top := filepath.Dir(f.State)
	closed := filepath.Join(top, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	kernel, readable := filepath.Join(closed, "kernel"), filepath.Join(top, "kernel")
	for path, mode := range map[string]os.FileMode{kernel: 0o644, readable: 0o600} {
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	r := record("web-1", 1)
	r.Spec.Boot.Kernel = kernel
	wantKind(t, "closed folder", f.Prepare(t.Context(), r), host.Broken, closed+" lacks search", "2010000003", "0700")
	r.Spec.Boot.Kernel = readable
	wantKind(t, "closed file", f.Prepare(t.Context(), r), host.Broken, readable+" lacks read", "0600")
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Prepare(t.Context(), r); err != nil {
		t.Errorf("a readable kernel: %v", err)
	}
	r.Spec.Disks = []vm.Disk{{Name: "shared", Path: readable}}
	wantKind(t, "disk that is not writable", f.Prepare(t.Context(), r), host.Broken, "lacks write")
	r.Spec.Disks[0].ReadOnly = true
	if err := f.Prepare(t.Context(), r); err != nil {
		t.Errorf("a read-only disk that is readable: %v", err)
	}
	r.Spec.Boot.Kernel = filepath.Join(top, "none")
	wantKind(t, "no kernel", f.Prepare(t.Context(), r), host.Broken, "none")
	if _, err := os.ReadFile(kernel); err != nil {
		t.Errorf("we lost our own rights by asking: %v", err)
	}
}

func TestFoldersLeaveNoFilesOpen(t *testing.T) {
	f := newFolders(t)
	count := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	before := count()
	for n := range vm.Incarnation(20) {
		r := record("web-1", n+1)
		prepared(t, f, r)
		if err := f.Discard(t.Context(), r.Ref()); err != nil {
			t.Fatal(err)
		}
	}
	if after := count(); after > before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}
