package persistence

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// childSpace makes this test binary a daemon whose disk becomes full while it runs.
const childSpace = "PERSISTENCE_CHILD_SPACE"

func onSmallDisk(state string) (dir string, o Options) {
	return filepath.Join(state, "store"), Options{
		Witness: filepath.Join(state, "witness.json"), Ballast: filepath.Join(state, "ballast"),
		Log: func(l Level, m string) {
			if l == Warn || l == Error {
				fmt.Fprintln(os.Stderr, l, m)
			}
		},
	}
}

const spaceVMs = 20

// childOnSmallDisk creates its VMs, waits until it is told that the disk is
// full, stops and removes them, and lives on until it is killed.
func childOnSmallDisk(dir string) {
	p, err := Open(onSmallDisk(filepath.Dir(dir)))
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	commit := func(t Turn) {
		if _, err := p.Commit(t); err != nil {
			fmt.Println("failed", err)
			os.Exit(3)
		}
		fmt.Printf("acked %s %d %v\n", t.Record.ID, t.Record.State.Revision, t.Removed)
	}
	records := map[int]vm.Record{}
	for n := range spaceVMs {
		records[n] = sampleRecord(n)
		commit(Turn{Record: records[n], Whole: true, Entry: sampleEntry(records[n])})
	}
	low, why := p.LowOnSpace()
	fmt.Println("ready", low, why)
	in := bufio.NewReader(os.Stdin)
	_, _ = in.ReadString('\n')
	p.CheckSpace()
	for range 60 {
		for n, r := range records {
			r.State.Revision++
			records[n] = r
			commit(Turn{Record: r, Entry: sampleEntry(r)})
		}
	}
	for n := range spaceVMs / 2 {
		r := records[n]
		r.State.Revision++
		commit(Turn{Record: r, Removed: true, Entry: sampleEntry(r)})
	}
	low, why = p.LowOnSpace()
	fmt.Println("stopped", low, why, p.Witness())
	_, _ = in.ReadString('\n')
	os.Exit(0)
}

// mountSmall mounts a disk of its own of so many MiB.
func mountSmall(t *testing.T, mib int) string {
	t.Helper()
	state := t.TempDir()
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mib)); err != nil {
		t.Skipf("a small disk can't be mounted here, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(state, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", state, err)
		}
	})
	return state
}

// fillDisk writes until nothing fits any more.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 4096, 1} {
		for {
			if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFullDiskStillTakesStopsAndRemovals fills the disk under a daemon. What ends
// VMs is still written, over several logs and tables, growing is refused, the
// daemon may be killed and starts again on the full disk, and with room again all
// is as before.
func TestFullDiskStillTakesStopsAndRemovals(t *testing.T) {
	state := mountSmall(t, 64)
	dir, o := onSmallDisk(state)
	cmd, in, out := startTalkingChild(t, dir, childSpace+"=1")
	acked := map[vm.ID]string{}
	until := func(word string) string {
		t.Helper()
		for {
			line := readLine(t, out)
			fields := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, word):
				return line
			case fields[0] == "acked":
				acked[vm.ID(fields[1])] = strings.Join(fields[2:], " ")
			default:
				t.Logf("the daemon says: %s", line)
				if fields[0] == "failed" {
					t.FailNow()
				}
			}
		}
	}
	if line := until("ready"); !strings.Contains(line, "ready false") {
		t.Fatalf("with room: %q", line)
	}
	if is, err := os.Stat(o.Ballast); err != nil || is.Size() != ballastBytes || is.Sys().(*syscall.Stat_t).Blocks*512 < ballastBytes {
		t.Fatalf("no ballast: %v, %v", is, err)
	}
	fillDisk(t, filepath.Join(state, "filler"))
	_, _ = fmt.Fprintln(in, "full")
	if line := until("stopped"); !strings.Contains(line, "stopped true") || !strings.HasSuffix(line, "<nil>") {
		t.Fatalf("on a full disk: %q", line)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()

	fillDisk(t, filepath.Join(state, "filler")) // what was released was eaten too
	p, err := Open(dir, o)
	if err != nil {
		t.Fatalf("on a full disk, after the daemon was killed: %v", err)
	}
	defer func() { _ = p.Close() }()
	if low, why := p.LowOnSpace(); !low || !strings.Contains(why, "must be free") {
		t.Errorf("growing is not refused: %q", why)
	}
	records, broken, err := p.Load()
	if err != nil || len(broken) > 0 || len(records) != spaceVMs/2 {
		t.Fatalf("%d records, %v, %v", len(records), broken, err)
	}
	for _, r := range records {
		if want := fmt.Sprintf("%d false", r.State.Revision); acked[r.ID] != want {
			t.Errorf("%s: acknowledged %q, found %q", r.ID, acked[r.ID], want)
		}
		if _, err := p.Commit(Turn{Record: r, Removed: true}); err != nil {
			t.Errorf("on a full disk: %v", err)
		}
	}
	if err := os.Remove(filepath.Join(state, "filler")); err != nil {
		t.Fatal(err)
	}
	p.CheckSpace()
	if low, why := p.LowOnSpace(); low {
		t.Errorf("with room again: %s", why)
	}
	if is, err := os.Stat(o.Ballast); err != nil || is.Size() != ballastBytes {
		t.Errorf("the ballast was not made again: %v, %v", is, err)
	}
}

// TestNoRoomForBallastRefusesToGrow: on a disk that is too small from the first day.
func TestNoRoomForBallastRefusesToGrow(t *testing.T) {
	state := mountSmall(t, 24)
	dir, o := onSmallDisk(state)
	p, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if low, why := p.LowOnSpace(); !low || !strings.Contains(why, "33MiB must be free") {
		t.Errorf("%v, %q", low, why)
	}
	mustCommit(t, p, Turn{Record: sampleRecord(1), Whole: true})
	if _, err := os.Stat(o.Ballast); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ballast was made of the last room: %v", err)
	}
}

// TestBallastIsOnlyWhatHasBlocks: a sparse file, or a link to another's, holds no room.
func TestBallastIsOnlyWhatHasBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ballast")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, ballastBytes); err != nil {
		t.Fatal(err)
	}
	b := newBallast(path, func(Level, string) {})
	if b.left != 0 {
		t.Fatalf("a sparse file counts as %d bytes", b.left)
	}
	b.tend()
	is, err := os.Stat(path)
	if low, why := b.low(); low || err != nil || is.Sys().(*syscall.Stat_t).Blocks*512 < ballastBytes {
		t.Errorf("it was not written anew: %s, %v", why, err)
	}
	for left := int64(ballastBytes - ballastStep); left >= 0; left -= ballastStep {
		b.full()
		if is, err := os.Stat(path); err != nil || is.Size() != left || b.left != left {
			t.Fatalf("%d bytes are left, want %d, %v", is.Size(), left, err)
		}
	}
	b.full() // nothing is left, and nothing goes wrong
	if low, _ := b.low(); !low {
		t.Error("without ballast there is no refusal")
	}

	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	b = newBallast(path, func(Level, string) {})
	b.tend()
	if text, err := os.ReadFile(other); err != nil || string(text) != "not ours" {
		t.Errorf("a link was followed: %.20q, %v", text, err)
	}
}
