package persistence

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	disk := vfs.NewMem()
	p := openMem(t, disk)
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
	w := whole{files: map[string][]byte{}}
	w.events, w.records = contentOf(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := disk.List(memDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		w.files[name] = readAll(t, disk, disk.PathJoin(memDir, name))
	}
	w.witness = readAll(t, disk, memWitness)
	return w
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
func (w whole) put(t *testing.T, files map[string][]byte) vfs.FS {
	t.Helper()
	disk := vfs.NewMem()
	if err := disk.MkdirAll(memDir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		overwrite(t, disk, disk.PathJoin(memDir, name), content)
	}
	if w.witness != nil {
		overwrite(t, disk, memWitness, w.witness)
	}
	return disk
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
			for _, at := range []int{0, 25, 60, 97} {
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
	if kinds[Damaged] < 50 || kinds[Older] == 0 {
		t.Errorf("this test tests nothing: %v", kinds)
	}
}

func openDamaged(t *testing.T, w whole, files map[string][]byte, story string) Trouble {
	t.Helper()
	disk := w.put(t, files)
	p, err := Open(memDir, Options{
		FS: disk, Witness: memWitness, logBytes: memLogBytes,
		Fatal: func(m string) { t.Errorf("%s: the process would have ended: %s", story, m) },
	})
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
	wantRefusal(t, err, memDir)
	for name, content := range files {
		if name == "LOCK" {
			continue // taking it empties it
		}
		if !bytes.Equal(readAll(t, disk, disk.PathJoin(memDir, name)), content) {
			t.Errorf("%s: %s was changed", story, name)
		}
	}
	if moved, err := setAside(disk, memDir, sampleTime); err != nil || !strings.Contains(moved, "store.damaged-") {
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
