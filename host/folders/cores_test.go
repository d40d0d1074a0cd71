package folders

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// cored is a record whose spec asks for a core, in folders where the kernel makes files of them.
func cored(t *testing.T, n vm.Incarnation) (*Folders, vm.Record) {
	t.Helper()
	f, r := newFolders(t), record("web", n)
	f.bundles.pattern, r.Spec.Dump.Core = "core.%p", true
	return f, r
}

// coreText begins as a core does.
func coreText(more string) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02")
	binary.NativeEndian.PutUint16(b[16:], 4)
	return append(b, more...)
}

// ownedBy writes a file of the VMM's user.
func ownedBy(t *testing.T, uid int, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, uid, uid); err != nil {
		t.Fatal(err)
	}
}

// crashedBy is the bundle of a VMM that ended by a signal, with a core or without.
func crashedBy(r vm.Record, n uint64, x vm.Exit) vm.Bundle {
	b := deathOf(r, n)
	b.Crash.Failure.Cause, b.Crash.Failure.Exit, b.PID = vm.CauseVMMCrash, &x, 4711
	return b
}

var segfault = vm.Exit{Known: true, Signal: 11, Core: true}

func coresIn(t *testing.T, at host.Paths) (left []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(at.Folder, "core-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		left = append(left, filepath.Base(one))
	}
	return left
}

func readCore(t *testing.T, at host.Paths, n uint64) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(at.Folder, bundlesName, fmt.Sprint(n), coreName))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(string(b), string(coreText("")))
}

func TestTheFolderForACoreIsTheVMMsToWriteAlone(t *testing.T) {
	f, r := cored(t, 7)
	at := prepared(t, f, r)
	prepared(t, f, r)
	_, gid := f.Owners.Of(r.Slot)
	var s unix.Stat_t
	if err := unix.Stat(at.Core, &s); err != nil || s.Mode&0o7777 != 0o730 || int(s.Uid) != os.Geteuid() || int(s.Gid) != gid {
		t.Errorf("%s: mode %o, owner %d:%d, %v", at.Core, s.Mode, s.Uid, s.Gid, err)
	}
	r.Spec.Dump.Core = false
	r.State.Incarnation++
	at = prepared(t, f, r)
	if left := coresIn(t, at); len(left) != 0 {
		t.Errorf("nobody asks for a core, and there is %q", left)
	}
	if err := os.WriteFile(at.Core, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Spec.Dump.Core = true
	wantKind(t, "a file in its place", f.Prepare(t.Context(), r), host.Broken)
}

func TestABundleTakesTheCoreOver(t *testing.T) {
	f, r := cored(t, 7)
	uid, _ := f.Owners.Of(r.Slot)
	for n, story := range map[uint64]vm.Exit{1: segfault, 2: {}} { // of the second nobody knows how it ended
		r.State.Incarnation++
		at := prepared(t, f, r)
		defer Bundles{f}.Hold(r.Ref())()
		ownedBy(t, uid, filepath.Join(at.Core, "core.4711"), coreText("of this one"))
		r.State.Incarnation++
		prepared(t, f, r) // the next one begins first
		if sealed, err := os.Stat(at.Core); err != nil || sealed.Mode().Perm() != 0o700 {
			t.Errorf("the next VMM, of the same user, finds %v, %v", sealed, err)
		}
		r.State.Incarnation--
		k, err := Bundles{f}.Keep(t.Context(), r.Ref(), crashedBy(r, n, story))
		if err != nil || !k.Core {
			t.Fatalf("kept %+v, %v", k, err)
		}
		if got := readCore(t, at, n); got != "of this one" {
			t.Errorf("its core is %q", got)
		}
		file := filepath.Join(at.Folder, bundlesName, fmt.Sprint(n), coreName)
		if is, err := os.Stat(file); err != nil || is.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", is, err)
		}
		e, err := Bundles{f}.Read(t.Context(), r.Ref(), n, vm.KiB)
		if err != nil || e.Core == nil || e.Core.Bytes <= 0 || e.Core.Why != "" {
			t.Errorf("its bundle tells of %+v, %v", e.Core, err)
		}
		var tarred bytes.Buffer
		if err := (Bundles{f}).Export(t.Context(), r.Ref(), n, &tarred); err != nil || !strings.Contains(tarred.String(), coreName) {
			t.Errorf("exported without it: %v", err)
		}
		r.State.Incarnation++
		if left := coresIn(t, at); !slices.Equal(left, []string{fmt.Sprintf("core-%d", r.State.Incarnation)}) {
			t.Errorf("left are %q", left)
		}
	}
}

// What a VMM that was taken over puts there is never opened for its bundle, and goes.
func TestNothingButACoreIsTaken(t *testing.T) {
	for story, one := range map[string]struct {
		lay  func(t *testing.T, dir string, uid int)
		says string
	}{
		"nothing": {func(*testing.T, string, int) {}, "no such file"},
		"a link": {func(t *testing.T, dir string, _ int) {
			must(t, os.Symlink("/etc/passwd", filepath.Join(dir, "core")))
		}, "something else"},
		"a pipe": {func(t *testing.T, dir string, _ int) {
			must(t, unix.Mkfifo(filepath.Join(dir, "core"), 0o666))
		}, "something else"},
		"a folder": {func(t *testing.T, dir string, uid int) {
			must(t, os.MkdirAll(filepath.Join(dir, "core", "a", "b"), 0o777))
			ownedBy(t, uid, filepath.Join(dir, "core", "a", "core"), coreText(""))
		}, "something else"},
		"a text": {func(t *testing.T, dir string, uid int) {
			ownedBy(t, uid, filepath.Join(dir, "core"), []byte(strings.Repeat("x", 100)))
		}, "no core"},
		"a program": {func(t *testing.T, dir string, uid int) {
			b := coreText("")
			binary.NativeEndian.PutUint16(b[16:], 2)
			ownedBy(t, uid, filepath.Join(dir, "core"), b)
		}, "no core"},
		"an empty file": {func(t *testing.T, dir string, uid int) {
			ownedBy(t, uid, filepath.Join(dir, "core"), nil)
		}, "no core"},
		"another user's": {func(t *testing.T, dir string, uid int) {
			ownedBy(t, uid+1, filepath.Join(dir, "core"), coreText(""))
		}, "user"},
		"a second name of a file": {func(t *testing.T, dir string, uid int) {
			disk := filepath.Join(dir, "..", "disks", "root.raw")
			ownedBy(t, uid, disk, coreText("secret"))
			must(t, os.Link(disk, filepath.Join(dir, "core")))
		}, "other names"},
		"a huge one": {func(t *testing.T, dir string, uid int) {
			ownedBy(t, uid, filepath.Join(dir, "core"), coreText(""))
			must(t, os.Truncate(filepath.Join(dir, "core"), int64(coreFar)+1))
		}, "longer than"},
	} {
		t.Run(story, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root gives files away")
			}
			f, r := cored(t, 7)
			at := prepared(t, f, r)
			uid, _ := f.Owners.Of(r.Slot)
			one.lay(t, at.Core, uid)
			defer Bundles{f}.Hold(r.Ref())()
			r.State.Incarnation++
			prepared(t, f, r)
			r.State.Incarnation--
			k, err := Bundles{f}.Keep(t.Context(), r.Ref(), crashedBy(r, 1, segfault))
			if err != nil || k.Core || readCore(t, at, 1) != "" {
				t.Errorf("kept %+v, %v", k, err)
			}
			e, err := Bundles{f}.Read(t.Context(), r.Ref(), 1, vm.KiB)
			if err != nil || e.Core == nil || !strings.Contains(e.Core.Why, one.says) {
				t.Errorf("the bundle tells of %+v, %v; want %q", e.Core, err, one.says)
			}
			if left := coresIn(t, at); !slices.Equal(left, []string{"core-8"}) {
				t.Errorf("left are %q", left)
			}
			if b, err := os.ReadFile("/etc/passwd"); err != nil || len(b) == 0 {
				t.Error("the file behind the link is gone")
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheNewestCoreOfManyFilesIsTaken(t *testing.T) {
	f, r := cored(t, 7)
	at := prepared(t, f, r)
	uid, _ := f.Owners.Of(r.Slot)
	for i := range 20 {
		path := filepath.Join(at.Core, fmt.Sprintf("core.%d", i))
		ownedBy(t, uid, path, coreText(fmt.Sprint(i)))
		when := died.Add(time.Duration(i%13) * time.Second)
		must(t, os.Chtimes(path, when, when))
	}
	if k, err := (Bundles{f}).Keep(t.Context(), r.Ref(), crashedBy(r, 1, segfault)); err != nil || !k.Core || readCore(t, at, 1) != "12" {
		t.Errorf("kept %+v, %v, with %q", k, err, readCore(t, at, 1))
	}
	if left := coresIn(t, at); len(left) != 0 {
		t.Errorf("left are %q", left)
	}
}

// A core that another program takes is told of, and nothing is looked for here.
func TestACoreThatWentElsewhere(t *testing.T) {
	for pattern, want := range map[string]string{
		"|/usr/lib/systemd/systemd-coredump %P %u %g %s %t %c %h": "systemd-coredump has taken it: coredumpctl info 4711",
		"|/usr/share/apport/apport -p%p":                          `the kernel has handed it to "/usr/share/apport/apport"`,
		"@/run/coredump.socket":                                   `the kernel has handed it to the socket "/run/coredump.socket"`,
		"/var/crash/core.%e.%p":                                   `the kernel was to write it to "/var/crash/core.%e.%p"`,
		"cores/core":                                              `the kernel's core_pattern is "cores/core", by which it makes none for a VMM`,
	} {
		f, r := cored(t, 7)
		f.bundles.pattern = pattern
		at := prepared(t, f, r)
		uid, _ := f.Owners.Of(r.Slot)
		ownedBy(t, uid, filepath.Join(at.Core, "core"), coreText("forged"))
		k, err := Bundles{f}.Keep(t.Context(), r.Ref(), crashedBy(r, 1, segfault))
		if err != nil || k.Core {
			t.Errorf("%s: kept %+v, %v", pattern, k, err)
		}
		if e, err := (Bundles{f}).Read(t.Context(), r.Ref(), 1, vm.KiB); err != nil || e.Core == nil || e.Core.Why != want {
			t.Errorf("%s: the bundle tells of %+v, %v", pattern, e.Core, err)
		}
		if left := coresIn(t, at); len(left) != 0 {
			t.Errorf("%s: left are %q", pattern, left)
		}
	}
	for _, here := range []string{"core", "core.%p", "%e.%t"} {
		if away := CoreElsewhere(here, "1"); away != "" {
			t.Errorf("%s: %s", here, away)
		}
	}
}

// An end that left no core, and a guest that was reset in place, leave the folder as it is.
func TestTheFolderOfALivingVMMStays(t *testing.T) {
	f, r := cored(t, 7)
	at := prepared(t, f, r)
	k, err := Bundles{f}.Keep(t.Context(), r.Ref(), deathOf(r, 1))
	if err != nil || k.Core || !slices.Equal(coresIn(t, at), []string{"core-7"}) {
		t.Errorf("kept %+v, %v; left are %q", k, err, coresIn(t, at))
	}
	k, err = Bundles{f}.Keep(t.Context(), r.Ref(), crashedBy(r, 2, vm.Exit{Known: true, Signal: 9}))
	e, failed := Bundles{f}.Read(t.Context(), r.Ref(), 2, vm.KiB)
	if err != nil || failed != nil || k.Core || e.Core != nil || len(coresIn(t, at)) != 0 {
		t.Errorf("kept %+v, %v, %v, %v; left are %q", k, e.Core, err, failed, coresIn(t, at))
	}
}

// A try that came to nothing leaves the core to the next one.
func TestACoreOutlivesATryThatFailed(t *testing.T) {
	for _, at := range []string{"write crash.json", "sync the folder", "make way", "rename"} {
		for _, cut := range []bool{false, true} {
			f, r := cored(t, 7)
			p := prepared(t, f, r)
			uid, _ := f.Owners.Of(r.Slot)
			ownedBy(t, uid, filepath.Join(p.Core, "core"), coreText("once"))
			f.bundles.step = func(what string) error {
				if what == at || cut && what == "give up" {
					return errors.New("planted")
				}
				return nil
			}
			if k, err := (Bundles{f}).Keep(t.Context(), r.Ref(), crashedBy(r, 1, segfault)); err == nil {
				t.Fatalf("%s: kept %+v", at, k)
			}
			f.bundles.step = nil
			k, err := Bundles{f}.Keep(t.Context(), r.Ref(), crashedBy(r, 1, segfault))
			if err != nil || !k.Core || readCore(t, p, 1) != "once" {
				t.Errorf("%s, cut off: %v: then kept %+v, %v, with %q", at, cut, k, err, readCore(t, p, 1))
			}
		}
	}
}

// A crash loop that is faster than its bundles leaves no more than a few cores,
// and no start waits for what is in the folders.
func TestACrashLoopLeavesFewCores(t *testing.T) {
	f, r := cored(t, 0)
	uid, _ := f.Owners.Of(r.Slot)
	for range 20 {
		r.State.Incarnation++
		defer Bundles{f}.Hold(r.Ref())()
		at := prepared(t, f, r)
		ownedBy(t, uid, filepath.Join(at.Core, "core"), coreText(""))
		if left := coresIn(t, at); len(left) > keptCores+1 {
			t.Fatalf("after %d: %q", r.State.Incarnation, left)
		}
	}
	at := f.Paths(r.Ref())
	for i := range 3 * coreLook {
		ownedBy(t, uid, filepath.Join(at.Core, fmt.Sprintf("junk-%d", i)), nil)
	}
	for range 6 {
		r.State.Incarnation++
		prepared(t, f, r)
	}
	if left := coresIn(t, at); !slices.Equal(left, []string{"core-18", "core-19", "core-20", "core-26"}) {
		t.Errorf("left are %q", left)
	}
	after, err := New(f.Config)
	must(t, err)
	for range 6 { // nobody has a bundle to write any more
		r.State.Incarnation++
		prepared(t, after, r)
	}
	if left := coresIn(t, at); !slices.Equal(left, []string{"core-32"}) {
		t.Errorf("left are %q", left)
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Error(err)
	}
}

// A VMM may nest folders deeper than the daemon may have files open. To follow
// them would leave none for any other VM, and the VM could never be deleted.
func TestFoldersInACoresFolderAreNotFollowedDown(t *testing.T) {
	f, r := cored(t, 7)
	at := prepared(t, f, r)
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(was.Max, 512), Max: was.Max}))
	t.Cleanup(func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) })
	for _, taken := range []string{"lifted-1", "lifted-2/x"} {
		must(t, os.MkdirAll(filepath.Join(at.Core, taken), 0o700))
	}
	in, err := unix.Open(at.Core, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range 1000 {
		must(t, unix.Mkdirat(in, "d", 0o700))
		next, err := unix.Openat(in, "d", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, errors.Join(err, unix.Close(in)))
		in = next
	}
	must(t, unix.Close(in))
	must(t, f.Discard(t.Context(), r.Ref()))
	if _, err := os.Lstat(at.Folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder is still there: %v", err)
	}
}
