package folders

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// newest are to stay of each VM, as many as that.
func newest(count int) func(vm.Shelves) vm.Shelves {
	return func(kept vm.Shelves) vm.Shelves {
		out := vm.Shelves{}
		for name, all := range kept {
			if n := len(all) - count; n > 0 {
				out[name] = slices.Clone(all[:n])
			}
		}
		return out
	}
}

func all(kept vm.Shelves) vm.Shelves { return newest(0)(kept) }

func TestACrashLoopStaysInItsQuota(t *testing.T) {
	f, r := newFolders(t), record("web", 0)
	const most = 20
	for n := range uint64(200) {
		r.State.Incarnation++
		logged(t, prepared(t, f, r), strings.Repeat("panic\n", 1000), "oops")
		keptBundle(t, f, r, n+1)
		if err := (Bundles{f}).Enforce(t.Context(), newest(most)); err != nil {
			t.Fatal(err)
		}
		all, err := Bundles{f}.List(t.Context(), r.Ref())
		if err != nil || len(all) > most || all[len(all)-1].Number != n+1 {
			t.Fatalf("after %d: %v, %v", n+1, all, err)
		}
		sum := vm.Bytes(0)
		for _, k := range all {
			sum += k.Bytes
		}
		if holds, err := (Bundles{f}).Held(t.Context()); err != nil || len(holds) != 1 || holds["web"] != sum {
			t.Fatalf("after %d they hold %v, not %v: %v", n+1, holds, sum, err)
		}
	}
	logs, err := filepath.Glob(filepath.Join(f.Paths(r.Ref()).Folder, "*.log"))
	if err != nil || len(logs) != 2*keptLogs {
		t.Errorf("%d logs are left, %v", len(logs), err)
	}
}

func TestWhatWasPrunedIsOwedToNobody(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	for n := range uint64(3) {
		keptBundle(t, f, r, n+1)
	}
	gone, err := Bundles{f}.Prune(t.Context(), r.Ref(), func(k vm.KeptBundle) bool { return k.Number != 1 })
	if err != nil || len(gone) != 2 || !slices.Equal(listed(t, f, r), []uint64{1}) {
		t.Errorf("pruned %v, %v; left %v", gone, err, listed(t, f, r))
	}
	for n, want := range map[uint64]bool{1: false, 2: false, 3: false, 4: true} {
		if owed, err := (Bundles{f}).Owed(t.Context(), r.Ref(), n); err != nil || owed != want {
			t.Errorf("crash %d: owed %v, %v", n, owed, err)
		}
	}
	if gone, err := (Bundles{f}).Prune(t.Context(), r.Ref(), func(vm.KeptBundle) bool { return false }); err != nil || len(gone) != 0 {
		t.Errorf("then pruned %v, %v", gone, err)
	}
}

func TestTheNextDaemonFindsWhatIsBeyondTheQuota(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	for n := range uint64(3) {
		keptBundle(t, f, r, n+1)
	}
	stray := filepath.Join(f.State, "vms", "stray")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Bundles{after}).Enforce(t.Context(), newest(1)); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, after, r); !slices.Equal(got, []uint64{3}) {
		t.Errorf("left are %v", got)
	}
}

func TestADumpIsWholeBoundedAndOfItsDeath(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	b := Bundles{f}
	d, err := b.NewDump(t.Context(), r.Ref(), vm.DumpELF, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(bytes.Repeat([]byte("m"), 10)); err != nil {
		t.Error(err)
	}
	_, err = d.Write([]byte("m"))
	wantKind(t, "more than it may", err, host.Broken, "larger than 10B")
	d.Drop()
	d.Drop()
	if left, err := os.ReadDir(filepath.Join(at.Folder, bundlesName)); err != nil || len(left) != 0 {
		t.Errorf("given up, it leaves %v, %v", left, err)
	}
	_, err = b.NewDump(t.Context(), r.Ref(), "core", 1, 10)
	wantKind(t, "another format", err, host.Broken, "core")

	dumped(t, f, r, 1, "of incarnation 7")
	r.State.Incarnation++
	prepared(t, f, r)
	dumped(t, f, r, 1, "of incarnation 8")
	if k := keptBundle(t, f, r, 1); !k.Dump {
		t.Errorf("kept %+v", k)
	}
	text, err := os.ReadFile(filepath.Join(at.Folder, bundlesName, "1", "dump.kdump"))
	if err != nil || string(text) != "of incarnation 8" {
		t.Errorf("it took over %q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(at.Folder, bundlesName, "dump-*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestAskedDumpsReplaceEachOther(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	for i, format := range []vm.DumpFormat{vm.DumpKdump, vm.DumpELF, vm.DumpELF} {
		d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), format, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(d, i); err != nil {
			t.Fatal(err)
		}
		path, n, err := d.Keep(t.Context())
		if err != nil || n != 1 || path != filepath.Join(at.Folder, "memory."+string(format)) {
			t.Errorf("kept %s of %d bytes: %v", path, n, err)
		}
		found, err := filepath.Glob(filepath.Join(at.Folder, "memory.*"))
		if err != nil || len(found) != 1 || found[0] != path {
			t.Errorf("there are %v, %v", found, err)
		}
	}
	keptBundle(t, f, r, 1)
	after, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	for which, b := range map[string]Bundles{"this daemon": {f}, "the next one": {after}} {
		one, err := b.Held(t.Context())
		kept := listed(t, f, r)
		if err != nil || one["web"] <= 1 || len(kept) != 1 {
			t.Errorf("%s: all of web holds %v, bundles %v, %v", which, one, kept, err)
		}
		if err := b.Enforce(t.Context(), func(s vm.Shelves) vm.Shelves {
			if k := s["web"]; len(k) != 2 || !k[0].Asked() || k[0].Bytes != 1 || !k[0].Dump || k[0].At.IsZero() {
				t.Errorf("%s knows of %v", which, k)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if gone, err := (Bundles{f}).Prune(t.Context(), r.Ref(), func(k vm.KeptBundle) bool { return !k.Asked() }); err != nil || len(gone) != 1 || gone[0].Number != 1 {
		t.Errorf("pruned are %v, %v", gone, err)
	}
	keptBundle(t, f, r, 2)
	if err := (Bundles{after}).Enforce(t.Context(), newest(1)); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(at.Folder, "memory.*")); err != nil || len(left) != 0 || len(listed(t, f, r)) != 1 {
		t.Errorf("left are %v and %v, %v", left, listed(t, f, r), err)
	}
}

func TestAskedDumpsArePrunedWithTheRest(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	b := Bundles{f}
	d, err := b.NewDump(t.Context(), r.Ref(), vm.DumpKdump, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	stranger := r.Ref()
	stranger.VM = "ffffffffffffffff"
	for _, one := range []struct {
		ref  vm.Ref
		drop bool
		want int
	}{{r.Ref(), false, 0}, {stranger, true, 0}, {r.Ref(), true, 1}, {r.Ref(), true, 0}} {
		gone, err := b.Prune(t.Context(), one.ref, func(vm.KeptBundle) bool { return one.drop })
		if err != nil || len(gone) != one.want {
			t.Errorf("%+v: pruned are %v, %v", one, gone, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(at.Folder, "memory.*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	if holds, err := b.Held(t.Context()); err != nil || len(holds) != 0 {
		t.Errorf("held are %v, %v", holds, err)
	}
}

// Mailboxes wait for the lock: the disk frees GiBs of a guest's memory without it.
func TestMemoryIsFreedWithoutTheLock(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	b := Bundles{f}
	d, err := b.NewDump(t.Context(), r.Ref(), vm.DumpELF, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(at.Folder, "memory.elf")
	is, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	freed := 0
	f.bundles.step = func(what string) error {
		if what != "free the memory that was asked for" {
			return nil
		}
		freed++
		if !f.bundles.mu.TryLock() {
			t.Error("it is freed while the lock is held")
			return nil
		}
		defer f.bundles.mu.Unlock()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("its name is still there: %v", err)
		}
		if !weHold(t, is) {
			t.Error("it was freed with its name")
		}
		return nil
	}
	if gone, err := b.Prune(t.Context(), r.Ref(), func(vm.KeptBundle) bool { return true }); err != nil || len(gone) != 1 || freed != 1 {
		t.Errorf("pruned are %v, %v; freed %d times", gone, err, freed)
	}
	if weHold(t, is) {
		t.Error("it is held for ever")
	}
}

// A dump takes the name of an earlier one, and of an earlier try, under the lock,
// and nothing of them is freed before that is free.
func TestADumpFreesAnEarlierOneWithoutTheLock(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	b := Bundles{f}
	begun := func(format vm.DumpFormat) host.DumpFile {
		d, err := b.NewDump(t.Context(), r.Ref(), format, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	is := func(name string) fs.FileInfo {
		is, err := os.Stat(filepath.Join(at.Folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if _, _, err := begun(vm.DumpELF).Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := is("memory.elf")
	for _, name := range []string{"memory.kdump", "memory.elf"} { // as another daemon's left them
		if err := os.WriteFile(filepath.Join(at.Folder, name+tryMark), []byte("cut off"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goes, freed := []fs.FileInfo{is("memory.kdump" + tryMark), is("memory.elf" + tryMark)}, 0
	f.bundles.step = func(what string) error {
		if what != "free an earlier dump" {
			return nil
		}
		freed++
		if !f.bundles.mu.TryLock() {
			t.Error("it is freed while the lock is held")
			return nil
		}
		defer f.bundles.mu.Unlock()
		for _, one := range goes {
			if !weHold(t, one) {
				t.Errorf("%s was freed with its name", one.Name())
			}
		}
		return nil
	}
	d := begun(vm.DumpELF)
	if freed != 1 || slices.ContainsFunc(goes, func(one fs.FileInfo) bool { return weHold(t, one) }) {
		t.Errorf("tries are freed %d times, or held for ever", freed)
	}
	goes = []fs.FileInfo{whole}
	if _, _, err := d.Keep(t.Context()); err != nil || freed != 2 || weHold(t, whole) {
		t.Errorf("kept: %v; freed %d times", err, freed)
	}
	if now := is("memory.elf"); os.SameFile(now, whole) || weHold(t, now) {
		t.Error("the new one is not there, or is held for ever")
	}
}

// weHold says whether a descriptor of ours is of that file.
func weHold(t *testing.T, is fs.FileInfo) bool {
	t.Helper()
	const ours = "/proc/self/fd"
	all, err := os.ReadDir(ours)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(one os.DirEntry) bool {
		at, err := os.Stat(filepath.Join(ours, one.Name()))
		return err == nil && os.SameFile(is, at)
	})
}

func TestWhatBundlesHoldIsToldWhileADiskStalls(t *testing.T) {
	f, r := newFolders(t), record("web", 1)
	logged(t, prepared(t, f, r), "panic\n", "oops")
	keptBundle(t, f, r, 1)
	held, err := (Bundles{f}).Held(t.Context())
	if err != nil || held["web"] == 0 {
		t.Fatalf("held are %v, %v", held, err)
	}
	f.bundles.mu.Lock() // as whoever renames and removes does
	defer f.bundles.mu.Unlock()
	if now, err := (Bundles{f}).Held(t.Context()); err != nil || now["web"] != held["web"] {
		t.Errorf("held are %v, not %v: %v", now, held, err)
	}
	next, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	next.bundles.mu.Lock()
	defer next.bundles.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if now, err := (Bundles{next}).Held(ctx); host.KindOf(err) != host.Transient || now != nil {
		t.Errorf("before the first look: %v, %v", now, err)
	}
}
