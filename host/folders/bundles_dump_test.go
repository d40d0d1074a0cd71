package folders

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func begunDump(t *testing.T, f *Folders, r vm.Record, crash uint64, text string) host.DumpFile {
	t.Helper()
	d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpELF, crash, vm.MiB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Drop)
	if _, err := d.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return d
}

// A guest that is reset in place dies again in the same incarnation.
func TestALateBundleLeavesTheDumpOfTheNextDeath(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	dumped(t, f, r, 2, "of death two")
	third := begunDump(t, f, r, 3, "of death three")
	if k := keptBundle(t, f, r, 1); k.Dump {
		t.Errorf("it took over another death's: %+v", k)
	}
	if k := keptBundle(t, f, r, 2); !k.Dump {
		t.Errorf("its dump is gone: %+v", k)
	}
	if _, _, err := third.Keep(t.Context()); err != nil {
		t.Error("a dump that was being written:", err)
	}
	r.State.Incarnation++
	prepared(t, f, r)
	if k := keptBundle(t, f, r, 3); k.Dump {
		t.Errorf("it took over what another incarnation left as a person stopped it: %+v", k)
	}
}

func TestADumpThatIsGivenUpLateLeavesItsSuccessor(t *testing.T) {
	for story, crash := range map[string]uint64{"of a death": 3, "asked for": 0} {
		f, r := newFolders(t), record("web", 7)
		prepared(t, f, r)
		dropped, kept := begunDump(t, f, r, crash, "first"), begunDump(t, f, r, crash, "second")
		third := begunDump(t, f, r, crash, "third")
		dropped.Drop()
		if path, _, err := kept.Keep(t.Context()); err == nil {
			t.Errorf("%s: a dump that has lost its place was kept in %s", story, path)
		}
		path, _, err := third.Keep(t.Context())
		if text, readErr := os.ReadFile(path); err != nil || string(text) != "third" {
			t.Errorf("%s: kept %q: %v, %v", story, text, err, readErr)
		}
	}
}

func TestTheNextDaemonRemovesDumpsThatWereCutOff(t *testing.T) {
	for story, wake := range map[string]func(f *Folders, r vm.Record) error{
		"its first look": func(f *Folders, _ vm.Record) error { return Bundles{f}.Enforce(t.Context(), newest(99)) },
		"its first dump": func(f *Folders, r vm.Record) error {
			d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpKdump, 9, 0)
			if err == nil {
				d.Drop()
			}
			return err
		},
	} {
		f, r := newFolders(t), record("web", 7)
		at := prepared(t, f, r)
		dumped(t, f, r, 2, "whole")
		begunDump(t, f, r, 3, "half")
		begunDump(t, f, r, 0, "half")
		own := filepath.Join(at.Folder, "mine.tmp")
		if err := os.WriteFile(own, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		after, err := New(f.Config)
		if err != nil {
			t.Fatal(err)
		}
		if err := wake(after, r); err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, glob := range []string{"memory.*", "crashes/dump-*"} {
			found, err := filepath.Glob(filepath.Join(at.Folder, glob))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, found...)
		}
		if len(left) != 1 || filepath.Base(left[0]) != "dump-7-2.kdump" {
			t.Errorf("%s leaves %v", story, left)
		}
		if _, err := os.Stat(own); err != nil {
			t.Errorf("%s: what is no dump: %v", story, err)
		}
		begunDump(t, after, r, 3, "now")
		if err := (Bundles{after}).Enforce(t.Context(), newest(99)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(at.Folder, bundlesName, "dump-7-3.elf.tmp")); err != nil {
			t.Errorf("%s: its own dump is gone: %v", story, err)
		}
	}
}

func TestDumpsAtOnceLeaveTheReserve(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	left := 40 * vm.MiB // for three dumps that each had room enough as they began
	f.bundles.room = func(string) (vm.Bytes, error) { return left, nil }
	var all []host.DumpFile
	for n := range uint64(3) {
		d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpELF, n+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Drop()
		all = append(all, d)
	}
	piece, failed := make([]byte, vm.MiB), 0
	for _, d := range all {
		for range 64 {
			_, err := d.Write(piece)
			if err != nil {
				wantKind(t, "a full disk", err, host.Transient, "no room", "256 MiB stay free")
				failed++
				break
			}
			left -= vm.MiB
		}
	}
	if failed != 3 || left < -2*dumpPiece {
		t.Errorf("%d of 3 ended; %d MiB of the reserve are used", failed, -left/vm.MiB)
	}
	_, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpELF, 4, 0)
	wantKind(t, "begin on a full disk", err, host.Transient, "no room")
}

func TestNothingIsKeptInAFolderThatIsDiscarded(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	death, asked := begunDump(t, f, r, 3, "half"), begunDump(t, f, r, 0, "half")
	f.bundles.discarding(r.Ref()) // and no further yet
	_, err := Bundles{f}.Keep(t.Context(), r.Ref(), deathOf(r, 1))
	wantKind(t, "keep a bundle", err, host.Gone, "deleted")
	for story, crash := range map[string]uint64{"a death's dump": 4, "an asked dump": 0} {
		_, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpELF, crash, 0)
		wantKind(t, "begin "+story, err, host.Gone, "deleted")
	}
	for _, d := range []host.DumpFile{death, asked} {
		_, _, err := d.Keep(t.Context())
		wantKind(t, "keep a dump", err, host.Gone, "deleted")
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(at.Folder); !errors.Is(err, os.ErrNotExist) {
		t.Error("the folder outlives its VM:", err)
	}
	r.ID = "00112233445566bb"
	prepared(t, f, r)
	keptBundle(t, f, r, 1)
}

func TestADiscardRacesWithBundles(t *testing.T) {
	for range 10 {
		f, r := newFolders(t), record("web", 7)
		at := prepared(t, f, r)
		over := make(chan struct{})
		go func() {
			defer close(over)
			for n := uint64(1); ; n++ {
				if _, err := (Bundles{f}).Keep(t.Context(), r.Ref(), deathOf(r, n)); host.KindOf(err) == host.Gone {
					return
				}
			}
		}()
		err := f.Discard(t.Context(), r.Ref())
		<-over
		if err != nil { // a bundle that was begun before it may be in its way once
			err = f.Discard(t.Context(), r.Ref())
		}
		if _, at := os.Stat(at.Folder); err != nil || !errors.Is(at, os.ErrNotExist) {
			t.Fatalf("the folder outlives its VM: %v, %v", err, at)
		}
	}
}

func TestAVMSeesNoBundleOfAnother(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	keptBundle(t, f, r, 1)
	other := r
	other.ID = "00112233445566bb"
	if err := os.Remove(at.Manifest); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(at.Disk("root")); err != nil {
		t.Fatal(err)
	}
	wantKind(t, "claim it", f.Prepare(t.Context(), other), host.Broken, "crashes/1 of another VM", "move it away")
	prepared(t, f, r) // its own
	b, err := os.ReadFile(at.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at.Manifest, []byte(strings.ReplaceAll(string(b), string(r.ID), string(other.ID))), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, f, other); len(got) != 0 {
		t.Errorf("listed are %v", got)
	}
	_, err = Bundles{f}.Read(t.Context(), other.Ref(), 1, 10)
	wantKind(t, "read it", err, host.Gone, "is of VM")
	wantKind(t, "export it", Bundles{f}.Export(t.Context(), other.Ref(), 1, &strings.Builder{}), host.Gone, "is of VM")
	if owed, err := (Bundles{f}).Owed(t.Context(), other.Ref(), 1); err != nil || !owed {
		t.Errorf("its own is owed: %v, %v", owed, err)
	}
	keptBundle(t, f, other, 1)
	if got := listed(t, f, other); len(got) != 1 {
		t.Errorf("listed are %v", got)
	}
}
