package persistence

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/blixard/blixard/vm"
)

func logsIn(t *testing.T, fs vfs.FS, dir string) []string {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var logs []string
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			logs = append(logs, fs.PathJoin(dir, name))
		}
	}
	return logs
}

func readAll(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func overwrite(t *testing.T, fs vfs.FS, path string, content []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(bytes.Clone(content)); err != nil { // under the race detector MemFS spoils what it was given
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

func TestCommitsDontGrowTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	r := sampleRecord(1)
	mustCommit(t, p, Turn{Record: r, Whole: true})
	logs := logsIn(t, vfs.Default, dir)
	for range 100 {
		r.State.Revision++
		mustCommit(t, p, Turn{Record: r, Entry: sampleEntry(r)})
	}
	if len(logs) != 1 || fmt.Sprint(logsIn(t, vfs.Default, dir)) != fmt.Sprint(logs) {
		t.Fatalf("logs %q and then %q", logs, logsIn(t, vfs.Default, dir))
	}
	if got := len(readAll(t, vfs.Default, logs[0])); got != writtenLogBytes {
		t.Fatalf("the log has %d bytes, want %d", got, writtenLogBytes)
	}
}

// TestNoRoomForZerosIsNoError: the zeros make commits quicker and promise nothing.
func TestNoRoomForZerosIsNoError(t *testing.T) {
	fs := vfs.NewMem()
	var refused sync.Map
	p := openMem(t, injecting(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileWrite || !strings.HasSuffix(op.Path, ".log") {
			return nil
		}
		if _, before := refused.LoadOrStore(op.Path, true); before {
			return nil
		}
		return syscall.ENOSPC
	})))
	mustCommit(t, p, Turn{Record: sampleRecord(1), Whole: true})
	for _, log := range logsIn(t, fs, memDir) {
		if got := len(readAll(t, fs, log)); got >= memLogBytes {
			t.Errorf("the log %s has %d bytes", log, got)
		}
	}
}

// TestLogsOldTailIsNeverReadAsNew cuts the power where a log that was used
// before holds fewer new records than old ones, at every length of the new
// part: the old bytes behind it, and a tail of zeros, end it. Nothing old comes
// back and no record is made of two halves.
func TestLogsOldTailIsNeverReadAsNew(t *testing.T) {
	fs := vfs.NewCrashableMem()
	p := openMem(t, fs)
	r := sampleRecord(1)
	write := func(turns int) {
		for range turns {
			r.State.Revision++
			mustCommit(t, p, Turn{Record: r, Whole: true, Entry: sampleEntry(r)})
		}
	}
	var (
		image   *vfs.MemFS
		newest  string
		content []byte
		end     int
	)
	for round := 0; len(content) < end+5_000; round++ { // a log is used again some time after its flush
		if round == 50 {
			t.Fatal("no log was used again")
		}
		write(30)
		if err := p.db.Flush(); err != nil {
			t.Fatal(err)
		}
		write(2)
		image = fs.CrashClone(vfs.CrashCloneCfg{})
		logs := logsIn(t, image, memDir)
		newest = slices.Max(logs)
		content = withoutZeros(readAll(t, image, newest))
		number, err := strconv.ParseUint(strings.TrimSuffix(image.PathBase(newest), ".log"), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		end = endOfChunks(content, uint32(number))
	}
	flushed := p.LastEvent() - 2
	for cut := 0; cut < end; cut += 131 {
		for name, tail := range map[string]func(int) byte{
			"zeros":     func(int) byte { return 0 },
			"old bytes": func(i int) byte { return content[end+i%(len(content)-end)] },
		} {
			after := image.CrashClone(vfs.CrashCloneCfg{})
			torn := bytes.Clone(content)
			for i := cut; i < len(torn); i++ {
				torn[i] = tail(i)
			}
			overwrite(t, after, newest, torn)
			checkPrefix(t, after, flushed, fmt.Sprintf("%s from byte %d", name, cut))
		}
	}
}

// usedBytes is where the zeros at the end begin.
func usedBytes(content []byte) int {
	n := len(content)
	for n > 0 && content[n-1] == 0 {
		n--
	}
	return n
}

// checkPrefix fails the test where the store doesn't hold the events from 1 up
// to some number of at least atLeast, with the record of the last one.
func checkPrefix(t *testing.T, fs vfs.FS, atLeast uint64, story string) {
	t.Helper()
	p, err := Open(memDir, Options{FS: fs, logBytes: memLogBytes})
	if err != nil {
		t.Fatalf("%s: %v", story, err)
	}
	defer func() { _ = p.Close() }()
	entries, err := p.Events(0, 10_000)
	if err != nil || uint64(len(entries)) < atLeast {
		t.Fatalf("%s: %d events, %v", story, len(entries), err)
	}
	checkContiguous(t, entries)
	records, broken, err := p.Load()
	if err != nil || len(broken) > 0 || len(records) != 1 || records[0].State.Revision != entries[len(entries)-1].Revision {
		t.Fatalf("%s: %+v, %v, %v; the last of %d events is %+v", story, records, broken, err, len(entries), entries[len(entries)-1])
	}
	if n, err := p.Note(vm.Entry{Kind: "K"}); err != nil || n != uint64(len(entries))+1 {
		t.Fatalf("%s: the next event is %d, %v", story, n, err)
	}
}
