package folders

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// newFolders is below a folder that other users may pass, unlike t.TempDir.
func newFolders(t testing.TB) *Folders {
	t.Helper()
	top, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := New(Config{State: filepath.Join(top, "state"), Run: filepath.Join(top, "run")})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func record(name vm.Name, n vm.Incarnation) vm.Record {
	return vm.Record{
		ID: "00112233445566aa", Slot: 3,
		Spec: vm.Spec{
			Name: name, Disks: []vm.Disk{{Name: "root", Size: 64 * vm.MiB}},
		},
		State: vm.State{Incarnation: n, BootID: "boot-1"},
	}
}

func prepared(t *testing.T, f *Folders, r vm.Record) host.Paths {
	t.Helper()
	if err := f.Prepare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return f.Paths(r.Ref())
}

func wantKind(t *testing.T, story string, err error, want host.Kind, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error", story)
	}
	if host.KindOf(err) != want {
		t.Errorf("%s: kind %d, want %d: %v", story, host.KindOf(err), want, err)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: %q doesn't say %q", story, err, s)
		}
	}
}

func TestPrepareMakesWhatALaunchNeeds(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	uid, gid := f.Owners.Of(r.Slot)
	for path, want := range map[string]struct {
		mode os.FileMode
		uid  int
	}{
		at.Folder:       {os.ModeDir | 0o750, os.Geteuid()},
		at.Run:          {os.ModeDir | 0o750, os.Geteuid()},
		at.Disks:        {os.ModeDir | 0o750, os.Geteuid()},
		at.Disk("root"): {0o600, uid},
		at.Log:          {0o640, uid},
		at.Stderr:       {0o640, uid},
		at.Manifest:     {0o600, os.Geteuid()},
	} {
		s, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := s.Sys().(*syscall.Stat_t)
		if s.Mode() != want.mode || int(st.Uid) != want.uid || path != at.Manifest && int(st.Gid) != gid {
			t.Errorf("%s: %v %d:%d, want %v %d:%d", path, s.Mode(), st.Uid, st.Gid, want.mode, want.uid, gid)
		}
	}
	disk, err := os.Stat(at.Disk("root"))
	if err != nil || disk.Size() != int64(64*vm.MiB) || disk.Sys().(*syscall.Stat_t).Blocks > 64 {
		t.Errorf("the disk is no sparse file of 64 MiB: %+v, %v", disk, err)
	}
	m, err := ReadManifest(at.Manifest)
	if err != nil || m.ID != r.ID || m.Slot != 3 || m.Spec.Name != "web-1" {
		t.Errorf("manifest: %+v, %v", m, err)
	}
}

func TestPrepareAgainKeepsWhatTheGuestWrote(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	if err := os.WriteFile(at.Disk("root"), []byte("precious"), 0o600); err != nil { // also shortens it: as a making that was cut off
		t.Fatal(err)
	}
	r.Spec.Disks[0].Size, r.State.Incarnation = 128*vm.MiB, 2
	prepared(t, f, r)
	b, err := os.ReadFile(at.Disk("root"))
	if err != nil || !strings.HasPrefix(string(b), "precious") || len(b) != int(128*vm.MiB) {
		t.Fatalf("grown to %d bytes, beginning %.8q: %v", len(b), b, err)
	}
	r.Spec.Disks[0].Size = vm.MiB
	prepared(t, f, r)
	if s, err := os.Stat(at.Disk("root")); err != nil || s.Size() != int64(128*vm.MiB) {
		t.Errorf("a smaller spec shortened the disk to %v: %v", s, err)
	}
}

func TestOnlyTheNewestLogsAreKept(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	for n := vm.Incarnation(1); n <= 9; n++ {
		r.State.Incarnation = n
		at := prepared(t, f, r)
		if err := os.WriteFile(at.Log+".1", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	folder := f.Paths(r.Ref()).Folder
	for n := 1; n <= 9; n++ {
		for _, form := range []string{"console-%d.log", "vmm-%d.log", "console-%d.log.1"} {
			name := fmt.Sprintf(form, n)
			_, err := os.Stat(filepath.Join(folder, name))
			if kept := err == nil; kept != (n >= 5) {
				t.Errorf("%s kept: %v", name, kept)
			}
		}
	}
}

func TestAnotherVMsFolderIsNeverTouched(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	other := r
	other.ID = "ffffffffffffffff"
	wantKind(t, "prepare", f.Prepare(t.Context(), other), host.Broken, "belongs to VM 00112233445566aa")
	wantKind(t, "release", f.Release(t.Context(), other.Ref()), host.Denied, "belongs to VM 00112233445566aa")
	wantKind(t, "discard", f.Discard(t.Context(), other.Ref()), host.Denied, "belongs to VM 00112233445566aa")
	for _, path := range []string{at.Disk("root"), at.Run} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("P14: %v", err)
		}
	}
	if err := os.RemoveAll(at.Run); err != nil {
		t.Fatal(err)
	}
	if err := f.Release(t.Context(), other.Ref()); err != nil {
		t.Errorf("a start that was refused for the folder holds nothing to release: %v", err)
	}
}

func TestDisksWithoutAManifestAreNobodys(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	if err := os.Remove(at.Manifest); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "prepare", f.Prepare(t.Context(), r), host.Broken, "no manifest")
	wantKind(t, "discard", f.Discard(t.Context(), r.Ref()), host.Denied, "manifest")
	if err := os.WriteFile(at.Manifest, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "discard with a broken manifest", f.Discard(t.Context(), r.Ref()), host.Denied, "manifest")
	if _, err := os.Stat(at.Disk("root")); err != nil {
		t.Errorf("P14: %v", err)
	}
}

func TestReleaseAndDiscardMayBeRepeated(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 2)
	at := prepared(t, f, r)
	if err := os.WriteFile(at.QMP, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	late := r.Ref()
	late.Incarnation = 1
	if err := f.Release(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at.QMP); err != nil {
		t.Errorf("the late release of incarnation 1 took the sockets of incarnation 2: %v", err)
	}
	for range 2 {
		if err := f.Release(t.Context(), r.Ref()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(at.Run); !os.IsNotExist(err) {
			t.Errorf("the run folder is still there: %v", err)
		}
		if _, err := os.Stat(at.Disk("root")); err != nil {
			t.Errorf("P14: a release took the disk: %v", err)
		}
	}
	for range 2 {
		if err := f.Discard(t.Context(), r.Ref()); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(at.Folder); !os.IsNotExist(err) {
			t.Errorf("the folder is still there: %v", err)
		}
	}
}

func TestACutDiscardGoesOn(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantKind(t, "cancelled", f.Discard(ctx, r.Ref()), host.Transient)
	if _, err := os.Stat(at.Manifest); err != nil {
		t.Fatalf("the manifest went first, so that nobody can prove whose the rest is: %v", err)
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at.Folder, 0o750); err != nil { // cut between the manifest and the folder
		t.Fatal(err)
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
}

func TestAManifestOfALaterVersionIsNotGuessedAt(t *testing.T) {
	b, _ := json.Marshal(Manifest{Format: 2, ID: "00112233445566aa"})
	if m, err := parseManifest(b); err == nil {
		t.Errorf("read as %+v", m)
	}
}

func TestKindsOfFailure(t *testing.T) {
	wantKind(t, "full", fail("x", t.TempDir(), syscall.ENOSPC), host.Transient, " left")
	wantKind(t, "read-only", fail("x", "/", syscall.EROFS), host.Broken, "writable")
	wantKind(t, "denied", fail("x", "/", syscall.EPERM), host.Denied)
	wantKind(t, "too many files", fail("x", "/", syscall.EMFILE), host.Transient)
	wantKind(t, "kind from below", fail("x", "/", host.Fail(host.Denied, "y", errors.New("z"))), host.Denied)
	_, err := New(Config{})
	wantKind(t, "no path", err, host.Broken)
}
