package persistence

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/blixard/blixard/vm"
)

// childDir makes this test binary a second daemon on the folder it names;
// childFault lets the child's disk be full once that many turns are written.
const (
	childDir   = "PERSISTENCE_CHILD_DIR"
	childFault = "PERSISTENCE_CHILD_FAULT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if os.Getenv(childSpace) != "" {
			childOnSmallDisk(dir)
		}
		child(dir)
	}
	os.Exit(m.Run())
}

// child opens the store, says so, and holds it until its standard input ends.
func child(dir string) {
	full := &switchedFault{err: syscall.ENOSPC}
	p, err := Open(dir, Options{FS: injecting(vfs.Default, full)})
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	fmt.Println("open")
	if turns, err := strconv.Atoi(os.Getenv(childFault)); err == nil {
		writeUntilFull(p, full, int64(turns))
		_, err := p.Note(vm.Entry{Kind: "K"})
		fmt.Println("note:", err)
	}
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(0)
}

func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	r, ok := errors.AsType[*vm.Refusal](err)
	if !ok {
		t.Fatalf("want a refusal, got %T: %v", err, err)
	}
	for _, part := range append(parts, "store") {
		if !strings.Contains(r.Error(), part) {
			t.Errorf("%q doesn't say %q", r.Error(), part)
		}
	}
	if strings.Contains(r.Error(), "\n") {
		t.Errorf("not one line: %q", r.Error())
	}
}

func TestSecondDaemonOnTheFolderIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cmd, out := startChild(t, dir)
	if line := readLine(t, out); line != "open" {
		t.Fatalf("the child says %q", line)
	}
	_, err := Open(dir, Options{})
	wantRefusal(t, err, dir, fmt.Sprintf("pid %d", cmd.Process.Pid))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	p, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("after the first one was killed: %v", err)
	}
	_, err = Open(dir, Options{})
	wantRefusal(t, err, dir, fmt.Sprintf("pid %d", os.Getpid()))
	if _, err := p.Note(vm.Entry{Kind: "K"}); err != nil {
		t.Fatalf("the refused one harmed the first: %v", err)
	}
	if out, err := childOutput(dir); err == nil || !strings.Contains(out, dir) {
		t.Fatalf("a second process after a refusal in the first one got in: %q, %v", out, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func startChild(t *testing.T, dir string, env ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd, _, out := startTalkingChild(t, dir, env...)
	return cmd, out
}

// startTalkingChild holds the child's input open, which the child waits on.
func startTalkingChild(t *testing.T, dir string, env ...string) (*exec.Cmd, io.Writer, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childDir+"="+dir), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, in, bufio.NewReader(out)
}

func childOutput(dir string) (string, error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("reading the child: %v", err)
	}
	return strings.TrimSpace(line)
}

func TestDiskErrorEndsTheRealProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cmd, out := startChild(t, dir, childFault+"=0")
	for _, want := range []string{"open", "note:", "the daemon ends; the VMs live on"} {
		if line := readLine(t, out); !strings.Contains(line, want) {
			t.Fatalf("the child says %q, not %q", line, want)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("the process ended with %v", cmd.ProcessState)
	}
}

func TestUnusableFoldersAreRefusedWithTheirReason(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(file, Options{})
	wantRefusal(t, err, file, "is not a folder")
	_, err = Open(filepath.Join(file, "below"), Options{})
	wantRefusal(t, err, file, "is not a folder")
	for errno, say := range map[syscall.Errno]string{
		syscall.EROFS: "read-only", syscall.EACCES: "uid", syscall.EPERM: "uid",
		syscall.ENOSPC: "no space is left", syscall.EDQUOT: "no space is left", syscall.EIO: "input/output error",
	} {
		failing := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpCreate && errno != syscall.ENOSPC {
				return &os.PathError{Op: "write", Path: op.Path, Err: errno}
			}
			return nil
		})
		_, err = Open(memDir, Options{FS: injecting(vfs.NewMem(), failing)})
		wantRefusal(t, err, say)
	}
	unreadable := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpList {
			return &os.PathError{Op: "open", Path: op.Path, Err: syscall.EACCES}
		}
		return nil
	})
	_, err = Open(memDir, Options{FS: injecting(vfs.NewMem(), unreadable)})
	wantRefusal(t, err, "uid")
}

// TestDiskFullAnywhereInOpenIsARefusal lets the n-th write, and all after it,
// find a full disk, for each n until Open succeeds.
func TestDiskFullAnywhereInOpenIsARefusal(t *testing.T) {
	seed := vfs.NewCrashableMem()
	p := openMem(t, seed)
	mustCommit(t, p, Turn{Record: sampleRecord(1), Whole: true, Entry: &vm.Entry{Kind: "K"}})
	for _, used := range []bool{false, true} {
		refused := 0
		for n := int32(0); ; n++ {
			var fs vfs.FS = vfs.NewMem()
			if used {
				fs = seed.CrashClone(vfs.CrashCloneCfg{})
			}
			var left atomic.Int32 // Pebble writes from several goroutines
			left.Store(n)
			full := errorfs.InjectorFunc(func(op errorfs.Op) error {
				// A folder's own sync needs no space; Pebble panics where it fails.
				if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || strings.HasSuffix(memDir, op.Path) {
					return nil
				}
				if left.Add(-1) < 0 {
					return &os.PathError{Op: "write", Path: op.Path, Err: syscall.ENOSPC}
				}
				return nil
			})
			s, err := Open(memDir, Options{FS: injecting(fs, full), Fatal: func(string) {}})
			if err == nil {
				left.Store(1 << 30) // or a background job of Pebble's meets the full disk and keeps Close waiting
				_ = s.Close()
				break
			}
			wantRefusal(t, err, "no space is left")
			refused++
		}
		if refused < 5 {
			t.Errorf("only %d writes failed: this test tests nothing", refused)
		}
	}
}

func TestNewerAndForeignStoresAreRefused(t *testing.T) {
	for value, say := range map[string]string{"99": "newer version: schema 99", "x": "damaged", "-1": "damaged", "": "damaged"} {
		fs := vfs.NewMem()
		p := openMem(t, fs)
		if err := p.db.Set([]byte(schemaKey), []byte(value), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
		_, err := Open(memDir, Options{FS: fs})
		wantRefusal(t, err, say)
	}
	fs := vfs.NewMem()
	p := openMem(t, fs)
	if err := p.db.Delete([]byte(schemaKey), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	_ = p.SetMeta("x", nil)
	_ = p.Close()
	_, err := Open(memDir, Options{FS: fs})
	wantRefusal(t, err, "database of something else")

	fs = vfs.NewMem()
	db, err := pebble.Open(memDir, &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	if _, err = Open(memDir, Options{FS: fs}); err != nil {
		wantRefusal(t, err)
	}
}

func TestMigrationsRunOnceAndInOrder(t *testing.T) {
	p := openMem(t, vfs.NewMem())
	var ran []int
	step := func(n int) migration {
		return func(_ *pebble.DB, b *pebble.Batch) error {
			ran = append(ran, n)
			return b.Set(metas.key(fmt.Sprintf("step%d", n)), nil, nil)
		}
	}
	steps := []migration{step(1), step(2)}
	for range 2 {
		if err := migrate(p.db, steps); err != nil {
			t.Fatal(err)
		}
	}
	if fmt.Sprint(ran) != "[1 2]" {
		t.Fatalf("ran %v", ran)
	}
	if at, err := schemaOf(p.db, 3); at != 3 || err != nil {
		t.Fatalf("schema %d, %v", at, err)
	}
	if len(migrations) != Schema-1 {
		t.Fatalf("schema %d needs %d migrations, there are %d", Schema, Schema-1, len(migrations))
	}
}

func TestDamagedStoreIsRefusedInOneLine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	names, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no manifest: %v", err)
	}
	for _, name := range names {
		if err := os.WriteFile(name, []byte(strings.Repeat("damage ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir, Options{})
	wantRefusal(t, err, dir)
	t.Log(err)
}
