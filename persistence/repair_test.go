package persistence

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/blixard/blixard/vm"
)

// TestRepairGoesOnWhereTheLostStoreEnded walks the whole way: lost, safe mode in
// memory, set aside, rebuilt from what memory holds, opened. A watcher's number
// never goes back.
func TestRepairGoesOnWhereTheLostStoreEnded(t *testing.T) {
	state := t.TempDir()
	dir, o := filepath.Join(state, "store"), stateOptions(t, state)
	p := openIn(t, state)
	mustCommit(t, p, Turn{Record: sampleRecord(1), Whole: true, Entry: sampleEntry(sampleRecord(1))})
	_ = p.Close()
	manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	for _, path := range manifests {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir, o)
	if u, ok := errors.AsType[*Unusable](err); !ok || u.Kind != Damaged {
		t.Fatalf("want damaged: %v", err)
	}
	seen, err := ReadWitness(o.Witness)
	if err != nil {
		t.Fatal(err)
	}
	m := NewMemoryAfter(seen.Resume())
	for n := range 3 {
		mustCommit(t, m, Turn{Record: sampleRecord(n), Whole: true, Entry: sampleEntry(sampleRecord(n))})
	}
	events, err := m.Events(seen.Sequence, 100)
	if err != nil || len(events) != 3 || events[0].Sequence != seen.Resume()+1 {
		t.Fatalf("a watcher of the lost store sees %+v, %v", events, err)
	}
	records, _, _ := m.Load()
	if err := Rebuild(dir, records, events, o); err == nil || !strings.Contains(err.Error(), "set the folder aside") {
		t.Fatalf("rebuilt over a store: %v", err)
	}
	if err := Rebuild(filepath.Join(state, "other"), records, nil, o); err == nil {
		t.Fatal("rebuilt without a reason")
	}
	aside, err := SetAside(dir, sampleTime)
	if want := dir + ".damaged-20260301T123015Z"; err != nil || aside != want {
		t.Fatalf("%q, %v, want %q", aside, err, want)
	}
	if err := Rebuild(dir, records, append(events, vm.Entry{Kind: "Repaired"}), o); err != nil {
		t.Fatal(err)
	}
	p = openIn(t, state)
	entries, found := contentOf(t, p)
	if len(entries) != 4 || !reflect.DeepEqual(entries[:3], events) || entries[3].Kind != "Repaired" || !reflect.DeepEqual(found, records) {
		t.Errorf("rebuilt as %+v\n%+v", entries, found)
	}
	if n, err := p.Note(vm.Entry{Kind: "K"}); err != nil || n != seen.Resume()+5 {
		t.Errorf("the next event is %d, %v", n, err)
	}
	if _, err := SetAside(dir, sampleTime); err == nil {
		t.Error("a store that is open was set aside")
	}
	_ = p.Close()
	o.Node = "node-b" // moved to another node, where a person repairs it
	if _, err = Open(dir, o); err == nil {
		t.Error("another node opened the store")
	}
	if aside, err = SetAside(dir, sampleTime); err != nil || !strings.HasSuffix(aside, "Z-2") {
		t.Errorf("a second time in one second: %q, %v", aside, err)
	}
	if err := Rebuild(dir, records, []vm.Entry{{Kind: "Repaired"}}, o); err != nil {
		t.Fatal(err)
	}
	if p, err = Open(dir, o); err != nil {
		t.Fatalf("after its repair: %v", err)
	}
	_ = p.Close()
}

// TestPowerCutWhileRebuildingLeavesAStoreOrNone.
func TestPowerCutWhileRebuildingLeavesAStoreOrNone(t *testing.T) {
	fs := vfs.NewCrashableMem()
	o := Options{FS: fs, Witness: memWitness, logBytes: memLogBytes, Node: "n"}
	p, err := Open(memDir, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Note(vm.Entry{Kind: "K"}); err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	c := &cutter{fs: fs, h: &history{}, rng: rand.New(rand.NewPCG(*crashSeed, 2))}
	o.FS = injecting(fs, c)
	if _, err := setAside(o.FS, memDir, sampleTime); err != nil {
		t.Fatal(err)
	}
	records := []vm.Record{sampleRecord(1), sampleRecord(2)}
	if err := Rebuild(memDir, records, []vm.Entry{{Kind: "Rebuilt"}}, o); err != nil {
		t.Fatal(err)
	}
	outcome := map[string]int{}
	for i, img := range append(c.images(), image{fs: fs.CrashClone(vfs.CrashCloneCfg{}), story: "after all"}) {
		if i > 20 && i%4 > 0 {
			continue // setting aside is in the first ones
		}
		o.FS = img.fs
		p, err := Open(memDir, o)
		if u, ok := errors.AsType[*Unusable](err); ok && u.Kind == Missing {
			outcome["missing"]++
			if err := Rebuild(memDir, records, []vm.Entry{{Kind: "Rebuilt"}}, o); err != nil {
				t.Fatalf("%s: again: %v", img.story, err)
			}
			p, err = Open(memDir, o)
		}
		if err != nil {
			t.Fatalf("%s: %v", img.story, err)
		}
		found, broken, err := p.Load()
		switch last := p.LastEvent(); {
		case err != nil || len(broken) > 0:
			t.Fatalf("%s: %v, %v", img.story, broken, err)
		case last == 1 && len(found) == 0:
			outcome["old"]++
		case last == 1+2*resumeGap+1 && reflect.DeepEqual(found, records):
			outcome["new"]++
		default:
			t.Fatalf("%s: event %d and %d records", img.story, last, len(found))
		}
		_ = p.Close()
	}
	t.Logf("%v", outcome)
	if outcome["old"] == 0 || outcome["missing"] == 0 || outcome["new"] == 0 {
		t.Errorf("this test tests nothing: %v", outcome)
	}
}

// TestMemoryStaysBounded: a daemon in safe mode may live on it for weeks.
func TestMemoryStaysBounded(t *testing.T) {
	m := NewMemory()
	r := sampleRecord(1)
	mustCommit(t, m, Turn{Record: r, Whole: true})
	for n := uint64(1); n <= 3*KeepCrashes; n++ {
		mustCommit(t, m, Turn{Record: r, Crash: &vm.Crash{Number: n}})
	}
	for range KeepEvents + 3*pruneStep {
		if _, err := m.Note(vm.Entry{Kind: "K"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.keys.Len(); got > KeepEvents+pruneStep+KeepCrashes+10 {
		t.Errorf("it holds %d keys", got)
	}
	mustCommit(t, m, Turn{Record: r, Removed: true})
	if crashes, err := m.Crashes(r.ID, 100); err != nil || len(crashes) > 0 {
		t.Errorf("a removed VM keeps %d crashes, %v", len(crashes), err)
	}
}
