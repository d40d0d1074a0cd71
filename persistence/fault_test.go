package persistence

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/blixard/blixard/vm"
)

// switchedFault lets every write and sync fail once it is on.
type switchedFault struct {
	err error
	on  atomic.Bool
}

func (f *switchedFault) String() string { return "fault" }

// MaybeError implements errorfs.Injector.
func (f *switchedFault) MaybeError(op errorfs.Op) error {
	if f.on.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		return &os.PathError{Op: "write", Path: op.Path, Err: f.err}
	}
	return nil
}

// TestDiskErrorIsToldFirstAndThenEndsTheProcess lets the disk fail under many
// writers: each failing Commit returns the error, nothing un-synced is shown,
// the process ends once, and what was acknowledged is found again. The log has
// room for all of it: a fault while Pebble begins a new log ends a process at
// once (see TestDiskErrorAtAnyTimeEndsTheRealProcess).
func TestDiskErrorIsToldFirstAndThenEndsTheProcess(t *testing.T) {
	fs, fault := vfs.NewCrashableMem(), &switchedFault{err: syscall.ENOSPC}
	ended := make(chan string, 10)
	p, err := Open(memDir, Options{FS: injecting(fs, fault), Fatal: func(m string) { ended <- m }})
	if err != nil {
		t.Fatal(err)
	}
	const writers, good = 8, 6
	acked := make([]vm.Revision, writers)
	var wg, written sync.WaitGroup
	written.Add(writers)
	fail := make(chan struct{})
	for n := range writers {
		wg.Go(func() {
			r := sampleRecord(n)
			for rev := vm.Revision(1); ; rev++ {
				r.State.Revision = rev
				if _, err := p.Commit(Turn{Record: r, Whole: rev == 1, Entry: sampleEntry(r)}); err != nil {
					if !errors.Is(err, syscall.ENOSPC) {
						t.Errorf("writer %d heard %v", n, err)
					}
					return
				}
				acked[n] = rev
				if rev == good {
					written.Done()
					<-fail
				}
			}
		})
	}
	written.Wait()
	fault.on.Store(true)
	close(fail)
	wg.Wait()
	select {
	case m := <-ended:
		if !strings.Contains(m, "no space left") || !strings.Contains(m, "VMs live on") {
			t.Errorf("the last words: %q", m)
		}
	case <-time.After(time.Minute):
		t.Fatal("the process did not end")
	}
	fault.on.Store(false) // the disk works again: the store must stay ended, for it can't know what it holds
	if _, err := p.Note(vm.Entry{Kind: "K"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a commit after the end: %v", err)
	}
	if p.SetMeta("x", nil) == nil || p.Close() == nil {
		t.Error("the broken store was written to or closed in peace")
	}
	if got := p.Metrics(); got.Failed == 0 && got != (Metrics{}) {
		t.Errorf("metrics: %+v", got)
	}
	next := openMem(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 2))}))
	if next.LastEvent() < p.LastEvent() {
		t.Errorf("event %d was shown, %d are found again", p.LastEvent(), next.LastEvent())
	}
	records, _, err := next.Load()
	if err != nil || len(records) != writers {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for n, r := range records {
		if r.State.Revision < acked[n] {
			t.Errorf("vm %d: revision %d was acknowledged, %d is found", n, acked[n], r.State.Revision)
		}
	}
	if len(ended) > 0 {
		t.Errorf("ended more than once: %q", <-ended)
	}
}

// writeUntilFull lets many writers commit, tells of each turn that was
// acknowledged, and lets the disk be full after so many; it returns when no
// writer goes on.
func writeUntilFull(p *Pebble, full *switchedFault, turns int64) {
	full.on.Store(turns == 0)
	var (
		written atomic.Int64
		wg      sync.WaitGroup
	)
	for n := range 8 {
		wg.Go(func() {
			r := sampleRecord(n)
			for r.State.Revision = 1; turns > 0; r.State.Revision++ {
				if _, err := p.Commit(Turn{Record: r, Whole: r.State.Revision == 1, Entry: sampleEntry(r)}); err != nil {
					return
				}
				fmt.Printf("acked %d %d\n", n, r.State.Revision)
				if written.Add(1) == turns {
					full.on.Store(true)
				}
			}
		})
	}
	wg.Wait()
}

// TestDiskErrorAtAnyTimeEndsTheRealProcess lets the disk be full before, while
// and after Pebble begins a new log, which it does at about the 180th turn: the
// process always ends, never in peace, and what it acknowledged is found again.
func TestDiskErrorAtAnyTimeEndsTheRealProcess(t *testing.T) {
	for turns := 150; turns <= 210; turns += 10 {
		dir := filepath.Join(t.TempDir(), "store")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir, childFault+"="+strconv.Itoa(turns))
		if _, err := cmd.StdinPipe(); err != nil { // held open: the child may not end by it
			t.Fatal(err)
		}
		var out, words bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &words
		err := cmd.Run()
		if ctx.Err() != nil {
			t.Fatalf("full after %d turns: the process hangs", turns)
		}
		if err == nil || words.Len() == 0 {
			t.Fatalf("full after %d turns: the process ended with %v and said %q", turns, err, words.String())
		}
		wantAcked(t, dir, out.String())
	}
}

// wantAcked fails the test where the store lacks a turn that the lines acknowledge.
func wantAcked(t *testing.T, dir, lines string) {
	t.Helper()
	p, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	records, _, err := p.Load()
	if err != nil {
		t.Fatal(err)
	}
	found := map[vm.ID]vm.Revision{}
	for _, r := range records {
		found[r.ID] = r.State.Revision
	}
	for line := range strings.Lines(lines) {
		var (
			n   int
			rev vm.Revision
		)
		if _, err := fmt.Sscanf(line, "acked %d %d", &n, &rev); err == nil && found[sampleID(n)] < rev {
			t.Errorf("vm %d: revision %d was acknowledged, %d is found", n, rev, found[sampleID(n)])
		}
	}
}

func TestLatencyIsObservedOncePerCommit(t *testing.T) {
	var seen atomic.Int64
	p, err := Open(memDir, Options{FS: vfs.NewMem(), Observe: func(took time.Duration) {
		if took > 0 {
			seen.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	mustCommit(t, p, Turn{Record: sampleRecord(1), Whole: true})
	if _, err := p.Note(vm.Entry{Kind: "K"}); err != nil {
		t.Fatal(err)
	}
	if m := p.Metrics(); seen.Load() != 2 || m.Commits != 2 || m.LastEvent != 1 {
		t.Fatalf("%d observed, %+v", seen.Load(), m)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestWritesThatWaitTooLongEndTheStore: no error of the log comes to a writer
// that waits for room, so the wait itself is bounded.
func TestWritesThatWaitTooLongEndTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broke []string
		l := &pebbleLog{log: func(Level, string) {}, broken: func(err error) error {
			broke = append(broke, err.Error())
			return err
		}}
		events := l.listener()
		events.WriteStallEnd() // never begun
		events.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "slow"})
		time.Sleep(stallLimit - 1)
		events.WriteStallEnd()
		time.Sleep(2 * stallLimit)
		synctest.Wait()
		if len(broke) > 0 {
			t.Fatalf("a wait that ended in time: %q", broke)
		}
		events.WriteStallBegin(pebble.WriteStallBeginInfo{Reason: "memtable count limit reached"})
		time.Sleep(2 * stallLimit)
		synctest.Wait()
		if len(broke) != 1 || !strings.Contains(broke[0], "memtable count limit reached") {
			t.Fatalf("a wait without an end: %q", broke)
		}
	})
}
