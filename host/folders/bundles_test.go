package folders

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

var died = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// deathOf is a bundle of the record's incarnation.
func deathOf(r vm.Record, n uint64) vm.Bundle {
	return vm.Bundle{
		Crash: vm.Crash{Number: n, Failure: vm.Failure{Incarnation: r.State.Incarnation, Cause: vm.CauseGuestPanic, At: died.Add(time.Duration(n) * time.Minute)}},
		VM:    r.ID, Name: r.Spec.Name, Spec: r.Spec,
		Notes: &vm.Notes{Argv: []string{"/vmm"}},
	}
}

// logged writes what the guest and the VMM of an incarnation said.
func logged(t *testing.T, at host.Paths, console, stderr string) {
	t.Helper()
	for path, text := range map[string]string{at.Log: console, at.Stderr: stderr} {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func keptBundle(t *testing.T, f *Folders, r vm.Record, n uint64) vm.KeptBundle {
	t.Helper()
	k, err := Bundles{f}.Keep(t.Context(), r.Ref(), deathOf(r, n))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func listed(t *testing.T, f *Folders, r vm.Record) (numbers []uint64) {
	t.Helper()
	all, err := Bundles{f}.List(t.Context(), r.Ref())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		numbers = append(numbers, k.Number)
	}
	return numbers
}

func dumped(t *testing.T, f *Folders, r vm.Record, n uint64, text string) {
	t.Helper()
	d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), vm.DumpKdump, n, vm.MiB)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Drop()
	if _, err := d.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, size, err := d.Keep(t.Context()); err != nil || size != vm.Bytes(len(text)) {
		t.Fatal(size, err)
	}
}

func TestABundleTellsOfItsDeath(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	logged(t, at, strings.Repeat("x", int(host.BundleConsole))+"\x1b[2Jpanic\r\n", "qemu: oops\n")
	if err := os.WriteFile(at.Log+".1", []byte("cut away"), 0o640); err != nil {
		t.Fatal(err)
	}
	dumped(t, f, r, 3, "memory")
	k := keptBundle(t, f, r, 3)
	if k.Number != 3 || !k.Dump || !k.At.Equal(died.Add(3*time.Minute)) || k.Bytes < host.BundleConsole+6 {
		t.Errorf("kept %+v", k)
	}
	e, err := Bundles{f}.Read(t.Context(), r.Ref(), 3, 100)
	if err != nil || len(e.Console) != 100 || !bytes.HasSuffix(e.Console, []byte("x\x1b[2Jpanic\r\n")) || string(e.Stderr) != "qemu: oops\n" {
		t.Errorf("read %q %q: %v", e.Console, e.Stderr, err)
	}
	if e.Crash.Failure.Cause != vm.CauseGuestPanic || e.Notes.Argv[0] != "/vmm" || e.Spec.Name != "web" || len(e.Lacks) != 0 {
		t.Errorf("read %+v", e.Bundle)
	}
	if again := keptBundle(t, f, r, 3); again != k {
		t.Errorf("kept twice: %+v, then %+v", k, again)
	}
	_, err = Bundles{f}.Read(t.Context(), r.Ref(), 4, 1)
	wantKind(t, "read what isn't there", err, host.Gone)
	if err := filepath.Walk(filepath.Join(at.Folder, bundlesName), func(path string, i os.FileInfo, err error) error {
		if err == nil && i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: a guest's secrets are open", path, i.Mode())
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestABundleIsExportedAsATarArchive(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	logged(t, prepared(t, f, r), "panic", "oops")
	dumped(t, f, r, 3, "memory")
	keptBundle(t, f, r, 3)
	var out bytes.Buffer
	if err := (Bundles{f}).Export(t.Context(), r.Ref(), 3, &out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for a := tar.NewReader(&out); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Mode != 0o600 || h.Typeflag != tar.TypeReg {
			t.Errorf("%s has mode %o and type %c", h.Name, h.Mode, h.Typeflag)
		}
		b, err := io.ReadAll(a)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %.6s", h.Name, b))
	}
	want := []string{"web-crash-3/console.log panic", "web-crash-3/crash.json {\n  \"c", "web-crash-3/dump.kdump memory", "web-crash-3/vmm.log oops"}
	if !slices.Equal(got, want) {
		t.Errorf("archived %q, want %q", got, want)
	}
	wantKind(t, "export what isn't there", Bundles{f}.Export(t.Context(), r.Ref(), 9, io.Discard), host.Gone)
}

var errCrashed = errors.New("the daemon is gone")

// stops makes every step from the nth on fail, clean-up too: as if the daemon
// were gone between two instructions.
func stops(nth int) func(string) error {
	return func(string) error {
		if nth--; nth < 0 {
			return errCrashed
		}
		return nil
	}
}

func TestADaemonThatDiesAtAnyStepLeavesABundleOrNone(t *testing.T) {
	for nth := 0; ; nth++ {
		f, r := newFolders(t), record("web", 7)
		logged(t, prepared(t, f, r), "panic", "oops")
		dumped(t, f, r, 3, "memory")
		f.bundles.step = stops(nth)
		_, err := Bundles{f}.Keep(t.Context(), r.Ref(), deathOf(r, 3))
		over := err == nil
		if !over && !errors.Is(err, errCrashed) {
			t.Fatalf("step %d: %v", nth, err)
		}
		after, err := New(f.Config) // the next daemon
		if err != nil {
			t.Fatal(err)
		}
		owed, err := Bundles{after}.Owed(t.Context(), r.Ref(), 3)
		if there := listed(t, after, r); err != nil || owed != (len(there) == 0) || over && owed {
			t.Errorf("step %d: listed %v, owed %v, %v", nth, there, owed, err)
		}
		k := keptBundle(t, after, r, 3)
		if e, err := (Bundles{after}).Read(t.Context(), r.Ref(), 3, 10); err != nil || !k.Dump || string(e.Console) != "panic" {
			t.Errorf("step %d: then kept %+v with %q, %v", nth, k, e.Console, err)
		}
		left, err := os.ReadDir(filepath.Join(after.Paths(r.Ref()).Folder, bundlesName))
		if err != nil || len(left) != 1 {
			t.Errorf("step %d leaves %v, %v", nth, left, err)
		}
		if over {
			if nth < 10 {
				t.Errorf("there were %d steps only", nth)
			}
			return
		}
	}
}

func TestWhatAVMMPutsInTheWayOfABundleIsNotFollowed(t *testing.T) {
	for story, put := range map[string]func(path string) error{
		"a link":     func(path string) error { return os.Symlink("/etc/shadow", path) },
		"a near one": func(path string) error { return os.Symlink(manifestName, path) },
		"a pipe":     func(path string) error { return unix.Mkfifo(path, 0o666) },
		"a folder":   func(path string) error { return os.Mkdir(path, 0o777) },
	} {
		t.Run(story, func(t *testing.T) {
			f, r := newFolders(t), record("web", 7)
			at := prepared(t, f, r)
			logged(t, at, "panic", "oops")
			if err := errors.Join(os.Remove(at.Log), put(at.Log)); err != nil {
				t.Fatal(err)
			}
			keptBundle(t, f, r, 3)
			e, err := Bundles{f}.Read(t.Context(), r.Ref(), 3, vm.MiB)
			if err != nil || len(e.Console) != 0 || string(e.Stderr) != "oops" {
				t.Errorf("it holds %q and %q: %v", e.Console, e.Stderr, err)
			}
			if len(e.Lacks) != 1 || !strings.Contains(e.Lacks[0], "console-7.log") {
				t.Errorf("it lacks %q", e.Lacks)
			}
			inside := filepath.Join(at.Folder, bundlesName, "3", "dump.elf")
			if err := put(inside); err != nil {
				t.Fatal(err)
			}
			if err := (Bundles{f}).Export(t.Context(), r.Ref(), 3, io.Discard); err == nil {
				t.Error("what stands in a bundle was exported")
			}
		})
	}
}

func TestABundleGoesIntoItsOwnVMsFolderAlone(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	_, err := Bundles{f}.Keep(t.Context(), r.Ref(), deathOf(r, 1))
	wantKind(t, "keep without a folder", err, host.Gone)
	at := prepared(t, f, r)
	other := r.Ref()
	other.VM = "00112233445566bb"
	_, err = Bundles{f}.Keep(t.Context(), other, deathOf(r, 1))
	wantKind(t, "keep in another VM's folder", err, host.Gone, "belongs to")
	if owed, err := (Bundles{f}).Owed(t.Context(), r.Ref(), 1); err != nil || !owed {
		t.Errorf("owed %v, %v", owed, err)
	}
	if err := os.Symlink("/etc", filepath.Join(at.Folder, bundlesName)); err != nil {
		t.Fatal(err)
	}
	if _, err := (Bundles{f}).Keep(t.Context(), r.Ref(), deathOf(r, 1)); err == nil {
		t.Error("a link in the place of the folder was followed")
	}
}

func TestLogsStayUntilTheirBundleIsWritten(t *testing.T) {
	f, r := newFolders(t), record("web", 1)
	at := prepared(t, f, r)
	logged(t, at, "panic", "oops")
	release, again := Bundles{f}.Hold(r.Ref()), Bundles{f}.Hold(r.Ref())
	loop := func() {
		for range 2 * keptLogs {
			r.State.Incarnation++
			prepared(t, f, r)
		}
	}
	loop()
	release()
	release() // twice is once
	loop()
	if _, err := os.Stat(at.Log); err != nil {
		t.Error("a log that is held:", err)
	}
	again()
	loop()
	if _, err := os.Stat(at.Log); !errors.Is(err, os.ErrNotExist) {
		t.Error("a log that nobody holds any more:", err)
	}
	if len(f.bundles.held) != 0 {
		t.Errorf("held are %v", f.bundles.held)
	}
}

func TestADiscardedVMTakesItsBundlesWithIt(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	keptBundle(t, f, r, 3)
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, f, r); got != nil {
		t.Errorf("listed %v", got)
	}
	if err := (Bundles{f}).Enforce(t.Context(), all); err != nil {
		t.Error(err)
	}
}
