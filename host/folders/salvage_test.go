package folders

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func list(t *testing.T, f *Folders) map[vm.Name]vm.FoundFolder {
	t.Helper()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[vm.Name]vm.FoundFolder{}
	for _, one := range all {
		out[one.Name] = one
	}
	return out
}

func TestEveryFolderIsListedWithWhoseItIs(t *testing.T) {
	f := newFolders(t)
	web := record("web", 7)
	at := prepared(t, f, web)
	if err := os.WriteFile(filepath.Join(at.Disks, "root.raw"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"vms/stray", "vms/.hidden"} {
		if err := os.Mkdir(filepath.Join(f.State, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(f.Run, "vm", "left"), 0o700); err != nil {
		t.Fatal(err)
	}
	found := list(t, f)
	got := found["web"]
	if got.ID != web.ID || got.Slot != 3 || got.Spec == nil || got.Last != 7 || !got.Folder || !got.Run || got.Bytes < vm.MiB {
		t.Errorf("web: %+v", got)
	}
	if one := found["stray"]; one.ID != "" || one.Why == "" || !one.Folder {
		t.Errorf("a folder without a manifest: %+v", one)
	}
	if one := found["left"]; one.Folder || !one.Run {
		t.Errorf("a run folder alone: %+v", one)
	}
}

func TestARunFolderAloneIsReleasedByWhatWasFound(t *testing.T) {
	f := newFolders(t)
	r := record("web", 7)
	at := prepared(t, f, r)
	if err := os.RemoveAll(at.Folder); err != nil {
		t.Fatal(err)
	}
	found := list(t, f)["web"]
	if err := f.Release(t.Context(), vm.Ref{Name: found.Name, Incarnation: found.Last}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(at.Run); !os.IsNotExist(err) {
		t.Errorf("found as incarnation %d, released, and still there: %v", found.Last, err)
	}
}

func TestQuarantineMovesWholeAndRestoreMovesBack(t *testing.T) {
	f := newFolders(t)
	at := prepared(t, f, record("web", 1))
	found := list(t, f)["web"]
	name, err := f.Quarantine(t.Context(), found)
	if err != nil || !strings.HasPrefix(name, "web.00112233445566aa.") {
		t.Fatalf("%q, %v", name, err)
	}
	if _, err := os.Stat(at.Folder); !os.IsNotExist(err) {
		t.Errorf("it is still there: %v", err)
	}
	_, err = f.Quarantine(t.Context(), found)
	wantKind(t, "what is gone already", err, host.Denied)
	if err := f.Restore(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(at.Disks, "root.raw")); err != nil {
		t.Errorf("P14: its disk did not come back: %v", err)
	}
	wantKind(t, "restored twice", f.Restore(t.Context(), name), host.Gone)
}

func TestQuarantineTakesNothingElse(t *testing.T) {
	f := newFolders(t)
	prepared(t, f, record("web", 1))
	other := list(t, f)["web"]
	other.ID = "ffffffffffffffff"
	_, err := f.Quarantine(t.Context(), other)
	wantKind(t, "P14: another VM's by now", err, host.Denied)
	for _, name := range []vm.Name{"../web", "", ".", "web/disks"} {
		bad := list(t, f)["web"]
		bad.Name = name
		_, err := f.Quarantine(t.Context(), bad)
		wantKind(t, string(name), err, host.Denied)
	}
	for _, name := range []string{"", "..", "web", "../vms/web", "web.x/../../y", ".x"} {
		if err := f.Restore(t.Context(), name); err == nil {
			t.Errorf("%q was restored", name)
		}
	}
}

func TestRestoreOverwritesNothing(t *testing.T) {
	f := newFolders(t)
	prepared(t, f, record("web", 1))
	name, err := f.Quarantine(t.Context(), list(t, f)["web"])
	if err != nil {
		t.Fatal(err)
	}
	again := record("web", 1)
	again.ID = "aaaaaaaaaaaaaaaa"
	prepared(t, f, again)
	wantKind(t, "its place is taken", f.Restore(t.Context(), name), host.Broken, "taken")
}

func TestALostFolderIsNotMadeAgainEmpty(t *testing.T) {
	f := newFolders(t)
	r := record("web", 2)
	r.State.LastExit = &vm.Crash{Uptime: 1}
	err := f.Prepare(t.Context(), r)
	wantKind(t, "its disks were there once", err, host.Broken, "gone")
	r.Spec.Disks = nil
	if err := f.Prepare(t.Context(), r); err != nil {
		t.Errorf("a VM without disks of its own loses nothing: %v", err)
	}
}

func TestWhatStandsBesideTheSocketIsNotOurs(t *testing.T) {
	f := newFolders(t)
	precious := filepath.Join(f.Run, "vm", "web", "a", "disk.qcow2")
	if err := os.MkdirAll(filepath.Dir(precious), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	web := record("web", 1)
	wantKind(t, "P8: a start into somebody's folder", f.Prepare(t.Context(), web), host.Broken, "move them away")
	if err := f.Release(t.Context(), web.Ref()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("P8: somebody's file is gone: %v", err)
	}
}
