package persistence

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/blixard/blixard/vm"
)

// kind makes one implementation of the contract; reopen is what the next daemon finds.
type kind struct {
	name   string
	fresh  func(t testing.TB) Store
	reopen func(t testing.TB, s Store) Store
}

func kinds() []kind {
	return []kind{
		{
			"pebble",
			func(t testing.TB) Store { return openMem(t, vfs.NewMem()) },
			func(t testing.TB, s Store) Store {
				if err := s.Close(); err != nil {
					t.Fatalf("closing: %v", err)
				}
				return openMem(t, vfs.Root(s.(*Pebble).o.FS))
			},
		},
		{
			"memory",
			func(testing.TB) Store { return NewMemory() },
			func(_ testing.TB, s Store) Store { return s.(*Memory).Crash() },
		},
	}
}

func forEachKind(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

func TestTurnComesBackAsItWasWritten(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		want, crash := sampleRecord(7), sampleCrash(1)
		if n := mustCommit(t, s, Turn{Record: want, Whole: true, Entry: sampleEntry(want), Crash: &crash}); n != 1 {
			t.Fatalf("the first entry got number %d", n)
		}
		if n := mustCommit(t, s, Turn{Record: want}); n != 0 {
			t.Fatalf("a turn without an entry got number %d", n)
		}
		for range 2 {
			records, broken, err := s.Load()
			if err != nil || len(broken) > 0 || len(records) != 1 {
				t.Fatalf("loaded %d records, broken %v, error %v", len(records), broken, err)
			}
			if !reflect.DeepEqual(records[0], want) {
				t.Fatalf("wrote %+v\nread  %+v", want, records[0])
			}
			entry := *sampleEntry(want)
			entry.Sequence = 1
			if got, err := s.Events(0, 10); err != nil || !reflect.DeepEqual(got, []vm.Entry{entry}) {
				t.Fatalf("events: %+v, %v", got, err)
			}
			if got, err := s.Crashes(want.ID, 10); err != nil || !reflect.DeepEqual(got, []vm.Crash{crash}) {
				t.Fatalf("crashes: %+v, %v", got, err)
			}
			s = k.reopen(t, s)
		}
	})
}

func TestRemovedVMLeavesOnlyItsEvents(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		gone, stays := sampleRecord(1), sampleRecord(2)
		crash := sampleCrash(1)
		for _, r := range []vm.Record{gone, stays} {
			mustCommit(t, s, Turn{Record: r, Whole: true, Entry: sampleEntry(r), Crash: &crash})
		}
		mustCommit(t, s, Turn{Record: gone, Removed: true, Entry: sampleEntry(gone)})
		if _, err := s.Commit(Turn{Record: gone}); !errors.Is(err, errNoConfig) {
			t.Fatalf("a late turn of a removed VM: %v", err)
		}
		records, broken, err := s.Load()
		if err != nil || len(broken) != 0 || len(records) != 1 || records[0].ID != stays.ID {
			t.Fatalf("left: %d records, broken %v, %v", len(records), broken, err)
		}
		if got, _ := s.Crashes(gone.ID, 9); len(got) != 0 {
			t.Fatalf("crashes of a removed VM: %v", got)
		}
		if got, _ := s.Crashes(stays.ID, 9); len(got) != 1 {
			t.Fatalf("crashes of its neighbour: %v", got)
		}
		if got, _ := s.Events(0, 9); len(got) != 3 {
			t.Fatalf("%d events", len(got))
		}
	})
}

func TestOneBrokenRecordKeepsNoOtherFromLoading(t *testing.T) { // P13
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		for n := range 5 {
			mustCommit(t, s, Turn{Record: sampleRecord(n), Whole: true})
		}
		plant(t, s, states.key(string(sampleID(0))), []byte{2, '{', '}'})
		plant(t, s, configs.key(string(sampleID(1))), []byte(`{"truncated`))
		plant(t, s, resources.key(string(sampleID(2))), nil)
		plant(t, s, configs.key(string(sampleID(3))), []byte("\x01"+`{"id":"0000000000000003","spec":{"name":"../etc"}}`))
		plant(t, s, states.key("not-an-id"), []byte{})
		records, broken, err := k.reopen(t, s).Load()
		if err != nil || len(records) != 1 || records[0].ID != sampleID(4) {
			t.Fatalf("loaded %d records, %v", len(records), err)
		}
		if len(broken) != 5 {
			t.Fatalf("broken: %v", broken)
		}
		for _, b := range broken {
			if b.Why == "" {
				t.Errorf("%s is broken without a reason", b.ID)
			}
		}
	})
}

// plant writes a raw value; nil deletes the key.
func plant(t *testing.T, s Store, key, value []byte) {
	t.Helper()
	var err error
	switch s := s.(type) {
	case *Memory:
		_, err = s.write([]change{{key: key, value: value}}, nil, nil)
	case *Pebble:
		_, err = s.write([]change{{key: key, value: value}}, nil, nil)
	}
	if err != nil {
		t.Fatalf("planting %q: %v", key, err)
	}
}

func TestUnreadableEventAndCrashAreToldOf(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		r, crash := sampleRecord(1), sampleCrash(1)
		mustCommit(t, s, Turn{Record: r, Whole: true, Entry: sampleEntry(r), Crash: &crash})
		mustCommit(t, s, Turn{Record: r, Entry: sampleEntry(r)})
		plant(t, s, eventKey(1), []byte{9})
		plant(t, s, crashKey(r.ID, 1), []byte{1, '['})
		got, err := s.Events(0, 9)
		if err != nil || len(got) != 2 || got[0].Kind != Unreadable || got[0].Sequence != 1 || got[1].Kind != "GuestAnswered" {
			t.Fatalf("events: %+v, %v", got, err)
		}
		if got, err := s.Crashes(r.ID, 9); err != nil || len(got) != 1 || got[0].Number != 1 || got[0].Failure.Cause != vm.CauseUnknown {
			t.Fatalf("crashes: %+v, %v", got, err)
		}
	})
}

func TestCrashesKeepTheNewest(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		r := sampleRecord(1)
		mustCommit(t, s, Turn{Record: r, Whole: true})
		for n := range uint64(KeepCrashes + 7) {
			crash := sampleCrash(n + 1)
			mustCommit(t, s, Turn{Record: r, Crash: &crash})
		}
		got, err := s.Crashes(r.ID, 1000)
		if err != nil || len(got) != KeepCrashes || got[0].Number != KeepCrashes+7 || got[KeepCrashes-1].Number != 8 {
			t.Fatalf("%d crashes, %v", len(got), err)
		}
		if got, _ := s.Crashes(r.ID, 2); len(got) != 2 || got[0].Number != KeepCrashes+7 {
			t.Fatalf("the newest two: %+v", got)
		}
		if got, err := s.Crashes("../x", 2); err == nil {
			t.Fatalf("a hostile id gave %v", got)
		}
	})
}

func TestEventsKeepTheNewest(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		const last = KeepEvents + 2*pruneStep
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				for range last / 64 {
					if _, err := s.Note(vm.Entry{Kind: "K"}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		for s.LastEvent() < last {
			if _, err := s.Note(vm.Entry{Kind: "K"}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Events(0, last)
		if err != nil || len(got) < KeepEvents || len(got) > KeepEvents+pruneStep || got[len(got)-1].Sequence != last {
			t.Fatalf("%d events are kept, %v", len(got), err)
		}
		checkContiguous(t, got)
		if got, err := s.Events(5, 3); err != nil || len(got) != 3 {
			t.Fatalf("from a pruned place on: %v, %v", got, err)
		}
	})
}

func checkContiguous(t *testing.T, entries []vm.Entry) {
	t.Helper()
	for i := 1; i < len(entries); i++ {
		if entries[i].Sequence != entries[i-1].Sequence+1 {
			t.Fatalf("after event %d comes %d", entries[i-1].Sequence, entries[i].Sequence)
		}
	}
}

func TestFollowerMissesNothingWhileManyWrite(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		const writers, each = 16, 50
		for n := range writers {
			go func() {
				for i := range each {
					r := sampleRecord(n)
					r.State.Revision = vm.Revision(i)
					if _, err := s.Commit(Turn{Record: r, Whole: i == 0, Entry: sampleEntry(r)}); err != nil {
						t.Error(err)
					}
				}
			}()
		}
		var (
			seen   []vm.Entry
			newest uint64
		)
		for len(seen) < writers*each {
			changed := s.Changed()
			got, err := s.Events(uint64(len(seen)), 7)
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, got...)
			if last := s.LastEvent(); last < newest {
				t.Fatalf("the last event went back from %d to %d", newest, last)
			} else {
				newest = last
			}
			if len(got) == 0 {
				<-changed
			}
		}
		checkContiguous(t, seen)
		next := map[vm.ID]vm.Revision{}
		for _, e := range seen {
			if e.Revision != next[e.VM] {
				t.Fatalf("%s: revision %d, expected %d", e.VM, e.Revision, next[e.VM])
			}
			next[e.VM]++
		}
	})
}

func TestMetaTellsEmptyFromNeverSet(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		for key, value := range map[string]string{"boot": "5c1f", "empty": "", "schema": "not the store's own"} {
			if err := s.SetMeta(key, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		s = k.reopen(t, s)
		for key, want := range map[string]any{"boot": "5c1f", "empty": "", "schema": "not the store's own", "never": nil} {
			got, err := s.Meta(key)
			if err != nil || (got == nil) != (want == nil) || want != nil && string(got) != want {
				t.Errorf("meta %q: %v, want %v, error %v", key, got, want, err)
			}
		}
	})
}

func TestClosedStoreSaysSo(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		r := sampleRecord(1)
		_, commit := s.Commit(Turn{Record: r, Whole: true})
		_, note := s.Note(vm.Entry{})
		_, _, load := s.Load()
		_, events := s.Events(0, 1)
		_, crashes := s.Crashes(r.ID, 1)
		_, meta := s.Meta("x")
		for i, err := range []error{commit, note, load, events, crashes, meta, s.SetMeta("x", nil)} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("method %d: %v", i, err)
			}
		}
	})
}

func TestHostileIDsWriteNothing(t *testing.T) {
	forEachKind(t, func(t *testing.T, k kind) {
		s := k.fresh(t)
		for _, id := range []vm.ID{"", "short", "000000000000000G", "../../etc/passwd", vm.ID(fmt.Sprintf("%017x", 1))} {
			for _, removed := range []bool{false, true} {
				if _, err := s.Commit(Turn{Record: vm.Record{ID: id}, Whole: true, Removed: removed}); err == nil {
					t.Errorf("id %q was written", id)
				}
			}
		}
		if records, broken, err := s.Load(); err != nil || len(records)+len(broken) > 0 {
			t.Fatalf("%v %v %v", records, broken, err)
		}
	})
}

func TestLateSyncTakesNoEventBack(t *testing.T) {
	var j journal
	changed := j.Changed()
	j.reached(5)
	<-changed
	changed = j.Changed()
	j.reached(3)
	j.reached(5)
	select {
	case <-changed:
		t.Fatal("told of a change that was none")
	default:
	}
	if j.LastEvent() != 5 {
		t.Fatalf("the last event is %d", j.LastEvent())
	}
}
