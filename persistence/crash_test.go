package persistence

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/blixard/blixard/vm"
)

var crashSeed = flag.Uint64("crashseed", 1, "seed of the power cuts")

// step is one turn of a VM, computed from its place alone, so that what is
// found after a cut can be compared with what was meant.
type step struct {
	vm  int
	rev vm.Revision
}

// Each VM crashes at every third revision, gets a new spec at every fourth, and
// every third VM is removed at its last one.
func (s step) turn() Turn {
	r := sampleRecord(s.vm)
	whole := s.rev - (s.rev-1)%4 // the last revision that wrote everything
	r.State.Revision, r.State.Crashes = s.rev, uint64(s.rev)/3
	r.Spec.CPUs, r.Reservation.CPUs = int(whole), int(whole)
	t := Turn{Record: r, Whole: whole == s.rev, Removed: s.removes(), Entry: sampleEntry(r)}
	if s.rev%3 == 0 && !t.Removed {
		crash := sampleCrash(r.State.Crashes)
		t.Crash = &crash
	}
	return t
}

const crashVMs, crashTurns = 6, 22

func (s step) removes() bool { return s.vm%3 == 0 && s.rev == crashTurns }

// history is what was begun and what was acknowledged, in order.
type history struct {
	mu           sync.Mutex
	begun, acked []step
	numbers      []uint64 // of acked
}

func (h *history) begin(s step) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begun = append(h.begun, s)
}

func (h *history) ack(s step, number uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked, h.numbers = append(h.acked, s), append(h.numbers, number)
}

func (h *history) lengths() (begun, acked int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.begun), len(h.acked)
}

// image is the disk after a power cut. All of acked is on it, and nothing that is not in begun.
type image struct {
	fs           *vfs.MemFS
	begun, acked int
	story        string
}

// cutter takes an image before every sync, rename, remove and creation.
type cutter struct {
	fs  *vfs.MemFS
	h   *history
	mu  sync.Mutex
	rng *rand.Rand
	all []image
}

func (c *cutter) String() string { return "cutter" }

// MaybeError implements errorfs.Injector; it injects nothing.
func (c *cutter) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpRename, errorfs.OpRemove,
		errorfs.OpCreate, errorfs.OpReuseForWrite, errorfs.OpLink:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, unsynced := range []int{0, 50} {
		_, acked := c.h.lengths() // before the image: these must be in it
		fs := c.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: c.rng})
		begun, _ := c.h.lengths() // after it: others can't be
		c.all = append(c.all, image{
			fs, begun, acked, fmt.Sprintf("seed %d, cut %d before op %d on %s, %d%% of the unsynced kept", *crashSeed, len(c.all), op.Kind, op.Path, unsynced),
		})
	}
	return nil
}

func (c *cutter) images() []image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// TestPowerCutAnywhereKeepsEveryAcknowledgedTurnWhole is the checker of P3: it
// cuts the power at every operation that makes something durable, and again
// while the store recovers from such a cut.
func TestPowerCutAnywhereKeepsEveryAcknowledgedTurnWhole(t *testing.T) {
	h := &history{}
	c := &cutter{fs: vfs.NewCrashableMem(), h: h, rng: rand.New(rand.NewPCG(*crashSeed, 0))}
	p := openMem(t, injecting(c.fs, c))
	runTurns(t, p, h)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	images := c.images()
	again := 0
	for i, img := range images {
		if i%96 == 0 {
			again += cutWhileRecovering(t, h, img)
			continue
		}
		checkImage(t, h, img, img.fs)
	}
	t.Logf("seed %d: %d cuts, %d more while recovering, %d turns", *crashSeed, len(images), again, len(h.acked))
	if len(images) < 100 || again < 100 {
		t.Errorf("too few cuts: this test tests nothing")
	}
}

// runTurns lets every VM take its turns, all at once, with flushes and compactions between them.
func runTurns(t *testing.T, p *Pebble, h *history) {
	var wg sync.WaitGroup
	for n := range crashVMs {
		wg.Go(func() {
			for rev := vm.Revision(1); rev <= crashTurns; rev++ {
				s := step{n, rev}
				h.begin(s)
				number, err := p.Commit(s.turn())
				if err != nil {
					t.Errorf("%+v: %v", s, err)
					return
				}
				h.ack(s, number)
				if n == 1 && rev%4 == 0 {
					if err := p.Witness(); err != nil {
						t.Error(err)
					}
				}
				if n == 0 && rev%5 == 0 {
					if err := p.db.Flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := p.db.Compact(t.Context(), []byte("a"), []byte("z"), false); err != nil {
		t.Error(err)
	}
}

func cutWhileRecovering(t *testing.T, h *history, first image) int {
	c := &cutter{fs: first.fs, h: &history{}, rng: rand.New(rand.NewPCG(*crashSeed, 1))}
	checkImage(t, h, first, injecting(first.fs, c))
	images := c.images()
	for _, img := range images {
		img.begun, img.acked, img.story = first.begun, first.acked, first.story+", then "+img.story
		checkImage(t, h, img, img.fs)
	}
	return len(images)
}

// checkImage opens what a cut left, compares it with the history, and closes it.
func checkImage(t *testing.T, h *history, img image, fs vfs.FS) {
	t.Helper()
	p, err := Open(memDir, Options{FS: fs, Witness: memWitness, logBytes: memLogBytes, Fatal: func(m string) { t.Errorf("%s: fatal: %s", img.story, m) }})
	if err != nil {
		t.Fatalf("%s: %v", img.story, err)
	}
	defer func() { _ = p.Close() }()
	entries, err := p.Events(0, 10_000)
	if err != nil || uint64(len(entries)) != p.LastEvent() {
		t.Fatalf("%s: %d events, the last is %d, %v", img.story, len(entries), p.LastEvent(), err)
	}
	checkContiguous(t, entries)
	at := map[vm.ID]vm.Revision{} // how far each VM is found
	for _, e := range entries {
		if e.VM == "" {
			continue // of checkGoesOn, before a second cut
		}
		if e.Revision != at[e.VM]+1 {
			t.Fatalf("%s: %s has event of revision %d after %d", img.story, e.VM, e.Revision, at[e.VM])
		}
		at[e.VM] = e.Revision
	}
	for i, s := range h.acked[:img.acked] {
		n := h.numbers[i]
		if n == 0 || n > uint64(len(entries)) || entries[n-1].VM != sampleID(s.vm) || entries[n-1].Revision != s.rev {
			t.Fatalf("%s: turn %+v was acknowledged as event %d and is not there", img.story, s, n)
		}
	}
	begun := map[vm.ID]vm.Revision{}
	for _, s := range h.begun[:img.begun] {
		begun[sampleID(s.vm)] = s.rev
	}
	for id, rev := range at {
		if rev > begun[id] {
			t.Fatalf("%s: %s is found at %d, which nobody began", img.story, id, rev)
		}
	}
	checkRecords(t, p, at, img.story)
	checkGoesOn(t, p, img.story)
}

// checkRecords compares each VM with its newest event: they came in one batch.
func checkRecords(t *testing.T, p *Pebble, at map[vm.ID]vm.Revision, story string) {
	t.Helper()
	records, broken, err := p.Load()
	if err != nil || len(broken) > 0 {
		t.Fatalf("%s: %v %v", story, broken, err)
	}
	found := map[vm.ID]vm.Record{}
	for _, r := range records {
		found[r.ID] = r
	}
	for n := range crashVMs {
		id := sampleID(n)
		s := step{n, at[id]}
		r, isThere := found[id]
		crashes, err := p.Crashes(id, 1000)
		if err != nil {
			t.Fatalf("%s: %v", story, err)
		}
		if s.rev == 0 || s.removes() {
			if isThere || len(crashes) > 0 {
				t.Fatalf("%s: vm %d at revision %d has a record (%v) or %d crashes", story, n, s.rev, isThere, len(crashes))
			}
			continue
		}
		want := s.turn().Record
		if !isThere || r.State.Revision != s.rev || r.Spec.CPUs != want.Spec.CPUs || r.Reservation != want.Reservation {
			t.Fatalf("%s: vm %d is torn at revision %d: %+v", story, n, s.rev, r)
		}
		if uint64(len(crashes)) != want.State.Crashes {
			t.Fatalf("%s: vm %d at revision %d has %d crashes", story, n, s.rev, len(crashes))
		}
	}
}

// checkGoesOn writes one more: its number follows the last one.
func checkGoesOn(t *testing.T, p *Pebble, story string) {
	t.Helper()
	last := p.LastEvent()
	if n, err := p.Note(vm.Entry{Kind: "K"}); err != nil || n != last+1 {
		t.Fatalf("%s: after event %d came %d, %v", story, last, n, err)
	}
}
