package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

// whole is a store with a few hundred turns in tables and in a log, and its witness.
type whole struct {
	files   map[string][]byte // of the folder
	witness []byte
	events  []vm.Entry
	records []vm.Record
}

func wholeStore(t *testing.T) whole {
	t.Helper()
	state := t.TempDir()
	p := openIn(t, state)
	for turn := range 300 {
		r := sampleRecord(turn % 10)
		r.State.Revision = vm.Revision(turn/10 + 1)
		mustCommit(t, p, Turn{Record: r, Whole: turn < 10, Entry: sampleEntry(r)})
		if turn == 120 {
			if err := p.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var w whole
	w.events, w.records = contentOf(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	w.files = map[string][]byte{}
	err := fs.WalkDir(os.DirFS(filepath.Join(state, "store")), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			w.files[path], err = os.ReadFile(filepath.Join(state, "store", path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.witness, err = os.ReadFile(filepath.Join(state, "witness.json")); err != nil {
		t.Fatal(err)
	}
	return w
}

func stateOptions(t *testing.T, state string) Options {
	return Options{
		Witness: filepath.Join(state, "witness.json"), Node: "node-a",
		Fatal: func(m string) { t.Errorf("the process would have ended: %s", m) },
	}
}

func openIn(t *testing.T, state string) *Pebble {
	t.Helper()
	p, err := Open(filepath.Join(state, "store"), stateOptions(t, state))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func contentOf(t *testing.T, s Store) ([]vm.Entry, []vm.Record) {
	t.Helper()
	entries, err := s.Events(0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	records, broken, err := s.Load()
	if err != nil || len(broken) > 0 {
		t.Fatal(broken, err)
	}
	return entries, records
}

// put writes the files into a new state folder.
func (w whole) put(t *testing.T, files map[string][]byte) (state string) {
	t.Helper()
	state = t.TempDir()
	if err := os.Mkdir(filepath.Join(state, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(state, "store", name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if w.witness != nil {
		if err := os.WriteFile(filepath.Join(state, "witness.json"), w.witness, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// damages are what may happen to a file. At says where, in percent of what is used of it.
var damages = map[string]func(files map[string][]byte, name string, at int){
	"removed":   func(files map[string][]byte, name string, _ int) { delete(files, name) },
	"truncated": func(files map[string][]byte, name string, at int) { files[name] = files[name][:place(files[name], at)] },
	"flipped": func(files map[string][]byte, name string, at int) {
		if i := place(files[name], at); i < len(files[name]) {
			files[name][i] ^= 0x10
		}
	},
	"zeroed": func(files map[string][]byte, name string, at int) {
		from := place(files[name], at)
		clear(files[name][from:min(from+4096, len(files[name]))])
	},
	"garbage": func(files map[string][]byte, name string, at int) {
		for i := place(files[name], at); i < len(files[name]); i++ {
			files[name][i] = byte(i*31 + i>>8)
		}
	},
	"swapped": func(files map[string][]byte, name string, at int) {
		others := slices.Sorted(maps.Keys(files))
		other := others[at*(len(others)-1)/100]
		files[name], files[other] = files[other], files[name]
	},
	"doubled": func(files map[string][]byte, name string, at int) {
		i := place(files[name], at)
		files[name] = slices.Concat(files[name][:i], files[name])
	},
}

func place(content []byte, percent int) int { return usedBytes(content) * percent / 100 }

// TestDamageAnywhereIsToldOrDoesNoHarm damages each file of a store in every way
// and at many places. Open says that the store can't be used, or all is there:
// nothing shorter, no panic, no end of the process, no change of the evidence.
func TestDamageAnywhereIsToldOrDoesNoHarm(t *testing.T) {
	w := wholeStore(t)
	kinds := map[Trouble]int{}
	harmless, tried := 0, 0
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		for how, damage := range damages {
			for _, at := range []int{0, 3, 25, 50, 75, 97, 100} {
				files := map[string][]byte{}
				for n, content := range w.files {
					files[n] = bytes.Clone(content)
				}
				damage(files, name, at)
				tried++
				kind := openDamaged(t, w, files, fmt.Sprintf("%s %s at %d%%", name, how, at))
				if kind == "" {
					harmless++
				}
				kinds[kind]++
			}
		}
	}
	t.Logf("%d files, %d damages, %d harmless, %v", len(w.files), tried, harmless, kinds)
	if kinds[Damaged] < 100 || kinds[Older] == 0 {
		t.Errorf("this test tests nothing: %v", kinds)
	}
}

func openDamaged(t *testing.T, w whole, files map[string][]byte, story string) Trouble {
	t.Helper()
	state := w.put(t, files)
	p, err := Open(filepath.Join(state, "store"), stateOptions(t, state))
	if err == nil {
		entries, records := contentOf(t, p)
		if len(entries) != len(w.events) || !reflect.DeepEqual(records, w.records) {
			t.Errorf("%s: %d events of %d, %d records of %d", story, len(entries), len(w.events), len(records), len(w.records))
		}
		_ = p.Close()
		return ""
	}
	u, ok := errors.AsType[*Unusable](err)
	if !ok {
		t.Errorf("%s: %T: %v", story, err, err)
		return "?"
	}
	wantRefusal(t, err, state)
	for name, content := range files {
		if name == "LOCK" {
			continue // taking it empties it
		}
		if now, err := os.ReadFile(filepath.Join(state, "store", name)); err != nil || !bytes.Equal(now, content) {
			t.Errorf("%s: %s was changed: %v", story, name, err)
		}
	}
	if moved, err := SetAside(filepath.Join(state, "store"), sampleTime); err != nil || !strings.Contains(moved, "store.damaged-") {
		t.Errorf("%s: set aside to %q, %v", story, moved, err)
	}
	return u.Kind
}

// TestDamageInTheMiddleOfTheLogIsNoEnd: without a witness too.
func TestDamageInTheMiddleOfTheLogIsNoEnd(t *testing.T) {
	w := wholeStore(t)
	w.witness = nil
	told := 0
	for name, content := range w.files {
		if !strings.HasSuffix(name, ".log") || usedBytes(content) < 10_000 || isFlushed(w, name) {
			continue
		}
		for at := range 40 {
			files := maps.Clone(w.files)
			files[name] = bytes.Clone(content)
			files[name][place(content, at*2)] ^= 1
			if kind := openDamaged(t, w, files, fmt.Sprintf("%s flipped at %d%%", name, at*2)); kind != Damaged {
				t.Errorf("%s flipped at %d%%: %q", name, at*2, kind)
			}
			told++
		}
	}
	if told == 0 {
		t.Error("no log was damaged: this test tests nothing")
	}
}

// isFlushed: what the log holds is in a table, and nobody reads it again.
func isFlushed(w whole, log string) bool {
	for name := range w.files {
		if strings.HasSuffix(name, ".log") && name > log {
			return true
		}
	}
	return false
}

func TestWitnessTellsALostAndAnOlderStoreFromAFirstStart(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "store")
	wantKind := func(story string, want Trouble, o Options) {
		t.Helper()
		_, err := Open(dir, o)
		if u, ok := errors.AsType[*Unusable](err); !ok || u.Kind != want {
			t.Errorf("%s: %v, want %s", story, err, want)
		}
	}
	o := stateOptions(t, state)
	p := openIn(t, state) // a first start: neither is there
	first, err := ReadWitness(o.Witness)
	if err != nil || first.Store == "" || first.Node != "node-a" || first.Sequence != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	note := func() {
		t.Helper()
		if _, err := p.Note(vm.Entry{Kind: "K"}); err != nil {
			t.Fatal(err)
		}
	}
	note()
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 0 {
		t.Errorf("a commit wrote the witness: %+v, %v", w, err)
	}
	if err := p.Witness(); err != nil {
		t.Fatal(err)
	}
	note()
	_ = p.Close()
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 2 || w.Store != first.Store {
		t.Errorf("after the end: %+v, %v", w, err)
	}

	backup := state + ".backup"
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	p = openIn(t, state)
	note()
	_ = p.Close()
	replace := func(with string) {
		t.Helper()
		if _, err := SetAside(dir, time.Now()); err != nil {
			t.Fatal(err)
		}
		if with != "" {
			if err := os.CopyFS(dir, os.DirFS(with)); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(backup)
	wantKind("a backup was put back", Older, o)
	other := o
	other.Node = "node-b"
	wantKind("another node's", Foreign, other)
	replace("")
	wantKind("the folder is gone", Missing, o)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the missing folder was made: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantKind("the folder is empty", Missing, o)
	stranger := filepath.Join(t.TempDir(), "store")
	q, err := Open(stranger, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		_, _ = q.Note(vm.Entry{Kind: "K"})
	}
	_ = q.Close()
	replace(stranger)
	wantKind("another store", Foreign, o)
	if err := os.WriteFile(o.Witness, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace("")
	wantKind("the witness can't be read, the folder is gone", Missing, o)
	if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	openIn(t, state) // the witness can't be read, and the store can
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 2 || w.Store != first.Store {
		t.Errorf("the witness was not written anew: %+v, %v", w, err)
	}
}
