package persistence

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// model is the store as a person would explain it.
type model struct {
	records map[vm.ID]vm.Record
	crashes map[vm.ID][]vm.Crash // newest first
	counted map[vm.ID]uint64
	entries []vm.Entry
	meta    map[string][]byte
}

func TestStoresDoWhatTheModelDoes(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		rapid.Check(t, func(rt *rapid.T) {
			s := k.fresh(t)
			m := &model{
				records: map[vm.ID]vm.Record{}, crashes: map[vm.ID][]vm.Crash{},
				counted: map[vm.ID]uint64{}, meta: map[string][]byte{},
			}
			rt.Repeat(map[string]func(*rapid.T){
				"turn":   func(rt *rapid.T) { m.turn(rt, s) },
				"burst":  func(rt *rapid.T) { m.burst(rt, s) },
				"note":   func(rt *rapid.T) { m.note(rt, s) },
				"meta":   func(rt *rapid.T) { m.setMeta(rt, s) },
				"reopen": func(*rapid.T) { s = k.reopen(t, s) },
				"":       func(rt *rapid.T) { m.compare(rt, s) },
			})
			_ = s.Close()
		})
	})
}

// turn is any turn, also one that makes no sense: a state of a VM that isn't there.
func (m *model) turn(rt *rapid.T, s Store) {
	r := sampleRecord(rapid.IntRange(1, 4).Draw(rt, "vm"))
	r.State.Revision = vm.Revision(rapid.Uint64Range(1, 1<<60).Draw(rt, "revision"))
	r.Spec.CPUs = rapid.IntRange(1, 64).Draw(rt, "cpus")
	r.Reservation.CPUs = r.Spec.CPUs
	t := Turn{
		Record: r, Whole: rapid.Bool().Draw(rt, "whole"), Removed: rapid.IntRange(0, 9).Draw(rt, "removed") == 0,
	}
	if rapid.Bool().Draw(rt, "entry") {
		t.Entry = sampleEntry(r)
		t.Entry.Why = rapid.String().Draw(rt, "why")
		t.Entry.Sequence = rapid.Uint64().Draw(rt, "what a caller left in the number")
	}
	if rapid.IntRange(0, 2).Draw(rt, "crash") == 0 {
		crash := sampleCrash(m.counted[r.ID] + 1)
		t.Crash = &crash
	}
	m.commit(rt, s, t)
}

// burst is a flapping VM: more crashes than are kept.
func (m *model) burst(rt *rapid.T, s Store) {
	r := sampleRecord(rapid.IntRange(1, 4).Draw(rt, "vm"))
	m.commit(rt, s, Turn{Record: r, Whole: true})
	for range rapid.IntRange(1, KeepCrashes+10).Draw(rt, "crashes") {
		crash := sampleCrash(m.counted[r.ID] + 1)
		m.commit(rt, s, Turn{Record: r, Entry: sampleEntry(r), Crash: &crash})
	}
}

func (m *model) commit(rt *rapid.T, s Store, t Turn) {
	id := t.Record.ID
	old, known := m.records[id]
	n, err := s.Commit(t)
	if !known && !t.Whole && !t.Removed {
		if err == nil {
			rt.Fatalf("a state without a configuration was written")
		}
		return
	}
	if err != nil {
		rt.Fatalf("commit: %v", err)
	}
	switch {
	case t.Removed:
		delete(m.records, id)
		delete(m.crashes, id)
		delete(m.counted, id)
	case t.Whole:
		m.records[id] = t.Record
	default:
		old.State = t.Record.State
		m.records[id] = old
	}
	if t.Crash != nil && !t.Removed {
		m.counted[id]++
		kept := append([]vm.Crash{*t.Crash}, m.crashes[id]...)
		m.crashes[id] = kept[:min(len(kept), KeepCrashes)]
	}
	m.entered(rt, t.Entry, n)
}

func (m *model) note(rt *rapid.T, s Store) {
	e := vm.Entry{At: sampleTime, Kind: "DaemonStarted", Why: rapid.String().Draw(rt, "why")}
	n, err := s.Note(e)
	if err != nil {
		rt.Fatalf("note: %v", err)
	}
	m.entered(rt, &e, n)
}

func (m *model) entered(rt *rapid.T, e *vm.Entry, number uint64) {
	want := uint64(0)
	if e != nil {
		kept := *e
		kept.Sequence = uint64(len(m.entries)) + 1
		m.entries = append(m.entries, kept)
		want = kept.Sequence
	}
	if number != want {
		rt.Fatalf("the entry got number %d, expected %d", number, want)
	}
}

func (m *model) setMeta(rt *rapid.T, s Store) {
	key := rapid.StringN(0, 3, 8).Draw(rt, "key")
	value := rapid.SliceOfN(rapid.Byte(), 0, 8).Draw(rt, "value")
	if err := s.SetMeta(key, value); err != nil {
		rt.Fatalf("meta: %v", err)
	}
	m.meta[key] = value
}

func (m *model) compare(rt *rapid.T, s Store) {
	records, broken, err := s.Load()
	if err != nil || len(broken) > 0 || len(records) != len(m.records) {
		rt.Fatalf("%d records of %d, broken %v, %v", len(records), len(m.records), broken, err)
	}
	for i, id := range slices.Sorted(maps.Keys(m.records)) {
		if !reflect.DeepEqual(records[i], m.records[id]) {
			rt.Fatalf("record %s:\nwant %+v\ngot  %+v", id, m.records[id], records[i])
		}
	}
	for n := range 5 {
		limit := rapid.IntRange(1, KeepCrashes+5).Draw(rt, "limit")
		want := m.crashes[sampleID(n)]
		got, err := s.Crashes(sampleID(n), limit)
		if err != nil || !slices.EqualFunc(got, want[:min(limit, len(want))], func(a, b vm.Crash) bool { return reflect.DeepEqual(a, b) }) {
			rt.Fatalf("crashes of vm %d: %d of %d, %v", n, len(got), len(want), err)
		}
	}
	last := uint64(len(m.entries))
	after, limit := rapid.Uint64Range(0, last+2).Draw(rt, "after"), rapid.IntRange(-1, 5).Draw(rt, "limit")
	want := m.entries[min(after, last):]
	got, err := s.Events(after, limit)
	if err != nil || s.LastEvent() != last || !slices.Equal(got, want[:min(max(limit, 0), len(want))]) {
		rt.Fatalf("events after %d: %+v of %d, %v", after, got, s.LastEvent(), err)
	}
	for key, want := range m.meta {
		if got, err := s.Meta(key); err != nil || got == nil || !slices.Equal(got, want) {
			rt.Fatalf("meta %q: %v, %v", key, got, err)
		}
	}
}
