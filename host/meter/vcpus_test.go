package meter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// A VMM that a guest took over names its threads as it likes, and tells of
// threads that are not its own.
func TestVCPUsOfAVMMThatLies(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	for i, name := range []string{"CPU 0/TCG", ") R 1 (", "a b) D 9 9 9", "two\nlines) t (", ""} {
		tid := 5000 + i
		line := strings.Replace(thread(tid, name, 60, 40, uint64(tid)), ") S 1 ", ") t 1 ", 1)
		if i%2 == 0 {
			line = thread(tid, name, 60, 40, uint64(tid))
		}
		w.write(fmt.Sprintf("proc/4711/task/%d/stat", tid), line)
	}
	w.write("proc/4711/task/5001/schedstat", "123456789 5 1\n")
	w.write("proc/4711/task/5006/stat", "5006 (cut")
	w.write("proc/4711/task/5007/stat", "")
	w.write("proc/99/task/99/stat", thread(99, "foreign", 1, 1, 1))
	told := []int{5000, 5001, 5002, 5003, 5004, 5006, 5007, 99, 0, -1, 6000, 4711}
	got, err := New(w.conf).VCPUs(p, told)
	if err != nil || len(got) != len(told) {
		t.Fatalf("%d of %d, %v", len(got), len(told), err)
	}
	states := ""
	for i, v := range got {
		if v.Thread != told[i] {
			t.Errorf("thread %d is told of as %d", told[i], v.Thread)
		}
		states += map[string]string{vm.ProcessSleeping: "s", vm.ProcessTraced: "t", "": "-"}[v.State]
	}
	if states != "ststs------s" {
		t.Errorf("the states are %s", states)
	}
	if got[0].Ran != time.Second || got[1].Ran != 123456789 || got[1].Began != 5001 {
		t.Errorf("%+v", got[:2])
	}
	if got, err := New(w.conf).VCPUs(p, make([]int, 100_000)); err != nil || len(got) != maxVCPUs {
		t.Errorf("%d of a hundred thousand are looked at, %v", len(got), err)
	}
	p.StartTime++
	if _, err := New(w.conf).VCPUs(p, told); host.KindOf(err) != host.Gone {
		t.Errorf("of another process: %v", err)
	}
}

func TestCommandLines(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	m := New(w.conf)
	for text, want := range map[string][]string{
		"/usr/bin/qemu\x00-name\x00a b\x00\x00-S\x00": {"/usr/bin/qemu", "-name", "a b", "", "-S"},
		"":                                nil,
		"no end":                          {"no end"},
		"\xff\x00\x1b[2J":                 {"\uFFFD", "\x1b[2J"},
		strings.Repeat("\x00", maxArgv+5): make([]string, maxArgs),
		strings.Repeat("x", maxArgv) + "beyond\x00" + "what is looked at": {strings.Repeat("x", maxArgv)},
	} {
		w.write("proc/4711/cmdline", text)
		if got, err := m.Argv(p); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.40q: %.80q, %v", text, got, err)
		}
	}
	p.StartTime++
	if got, err := m.Argv(p); host.KindOf(err) != host.Gone || got != nil {
		t.Errorf("of another process: %q, %v", got, err)
	}
	if err := os.Remove(filepath.Join(w.conf.Proc, "4711/cmdline")); err != nil {
		t.Fatal(err)
	}
	p.StartTime--
	if _, err := m.Argv(p); host.KindOf(err) != host.Gone {
		t.Errorf("it ends meanwhile: %v", err)
	}
}

// The real kernel and the real QEMU: its vCPU is the thread that it tells of, and
// is seen to be held while somebody holds it.
func TestVCPUsOfARealVMM(t *testing.T) {
	b := newLab(t)
	v := b.launch("vcpus", qemu.PVHHalts)
	m := New(Config{Proc: "/proc", BootID: b.boot})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := b.driver.Attach(ctx, vm.Spec{}, host.NewPaths(b.dir, b.dir, v.Ref), func(host.Notice) {})
	b.must(err)
	defer s.Close()
	threads, err := s.VCPUs(ctx)
	if err != nil || len(threads) != 1 {
		t.Fatalf("threads %v, %v", threads, err)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", v.Process.PID, threads[0]))
	b.must(err)
	if !isVCPU(name) {
		t.Errorf("the thread is %q", name)
	}
	seen := func(what string, fits func(vm.VCPU) bool) {
		t.Helper()
		var all []vm.VCPU
		for until := time.Now().Add(patience); time.Now().Before(until); <-time.After(10 * time.Millisecond) {
			if all, err = m.VCPUs(v.Process, threads); err == nil && fits(all[0]) {
				return
			}
		}
		t.Fatalf("%s: %+v, %v", what, all, err)
	}
	lives := func(c vm.VCPU) bool { return c.Began > 0 && c.State == vm.ProcessSleeping }
	seen("it idles", lives)
	runtime.LockOSThread() // only the thread that traces may let go
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(threads[0]); err != nil {
		t.Skipf("SKIP this process may not trace a thread: %v", err)
	}
	b.must(unix.PtraceInterrupt(threads[0]))
	seen("it is held", func(c vm.VCPU) bool { return c.State == vm.ProcessTraced })
	_, err = unix.Wait4(threads[0], nil, unix.WALL, nil)
	b.must(err)
	b.must(unix.PtraceDetach(threads[0]))
	seen("it was let go", lives)
	argv, err := m.Argv(v.Process)
	if err != nil || len(argv) < 5 || !filepath.IsAbs(argv[0]) || !slices.Contains(argv, "-S") && !slices.Contains(argv, "-nodefaults") {
		t.Errorf("its command line is %q, %v", argv, err)
	}
}

// BenchmarkVCPUs looks at two threads, as each round of a vmm check does.
func BenchmarkVCPUs(b *testing.B) {
	boot, err := procfs.Default.BootID()
	if err != nil {
		b.Fatal(err)
	}
	line, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		b.Fatal(err)
	}
	s, _ := parseStat(line)
	m := New(Config{Proc: "/proc", BootID: boot})
	p := vm.Process{PID: os.Getpid(), StartTime: s.start, BootID: boot}
	both := []int{os.Getpid(), os.Getpid()}
	b.ReportAllocs()
	for b.Loop() {
		if all, err := m.VCPUs(p, both); err != nil || all[1].State == "" {
			b.Fatal(all, err)
		}
	}
}
