package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

func TestGlanceTellsStateThreadsAndWaits(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	for i, line := range []string{"500000000 10000000 7\n", "3000000000 2000000000 9\n", "900000000 40 1\n", "rubbish"} {
		w.write(fmt.Sprintf("proc/4711/task/%d/schedstat", 4711+i), line)
	}
	g, err := New(w.conf).Look(p)
	if err != nil {
		t.Fatal(err)
	}
	if g.State != vm.ProcessSleeping || g.Threads != 4 || g.Ran != 4400*time.Millisecond || g.Waited != 2*time.Second || len(g.Waits) != 3 {
		t.Errorf("%+v", g)
	}
	// Without the scheduler's statistics there are ticks, and no waits.
	for i := range 4 {
		if err := os.Remove(filepath.Join(w.conf.Proc, fmt.Sprintf("4711/task/%d/schedstat", 4711+i))); err != nil {
			t.Fatal(err)
		}
	}
	if g, err = New(w.conf).Look(p); err != nil || g.Ran != 3700*time.Millisecond || g.Waited != 0 || g.Waits != nil {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestGlanceKnowsEachState(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	for letter, want := range map[string]string{
		"R": vm.ProcessRunning, "S": vm.ProcessSleeping, "D": vm.ProcessUninterruptible, "T": vm.ProcessStopped,
		"t": vm.ProcessTraced, "Z": vm.ProcessZombie, "X": vm.ProcessZombie, "I": vm.ProcessSleeping,
	} {
		w.write("proc/4711/stat", strings.Replace(thread(4711, ") T (", 1, 1, p.StartTime), ") S ", ") "+letter+" ", 1))
		if g, err := New(w.conf).Look(p); err != nil || g.State != want {
			t.Errorf("%s: %q, %v", letter, g.State, err)
		}
	}
}

// Whoever waits for a disk is one of the VMM's workers, seldom its first thread.
func TestGlanceCountsTheThreadsThatWaitForADisk(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	for _, tid := range []int{4712, 4714} {
		w.write(fmt.Sprintf("proc/4711/task/%d/stat", tid), strings.Replace(thread(tid, "worker) D (", 1, 1, 9), ") S ", ") D ", 1))
	}
	if g, err := New(w.conf).Look(p); err != nil || g.Blocked != 2 || g.State != vm.ProcessSleeping {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestGlanceAtWhatIsGone(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	m := New(w.conf)
	reused, other := p, p
	reused.StartTime++
	other.BootID = "0c1a2b3c-0000-4000-8000-000000000002"
	for _, gone := range []vm.Process{reused, other, {PID: 99, StartTime: 1, BootID: bootID}, {BootID: bootID}, {PID: -1, BootID: bootID}} {
		if g, err := m.Look(gone); host.KindOf(err) != host.Gone {
			t.Errorf("%+v: %+v, %v", gone, g, err)
		}
	}
	w.write("proc/4711/stat", "4711 (qemu")
	if _, err := m.Look(p); host.KindOf(err) != host.Gone {
		t.Errorf("a line that breaks off: %v", err)
	}
}

// A VMM that a guest took over makes as many threads as it is let.
func TestGlanceIsBounded(t *testing.T) {
	w := newTree(t)
	p := w.vmm(4711, "")
	for i := range 2 * maxLooked {
		w.write(fmt.Sprintf("proc/4711/task/%d/schedstat", 5000+i), "18446744073709551615 99999999999999999999999 1\n")
	}
	w.write("proc/4711/task/4711/schedstat", "18446744073709551615 18446744073709551615 1\n")
	g, err := New(w.conf).Look(p)
	if err != nil || len(g.Waits) > maxLooked || g.Ran < 0 || g.Waited < 0 {
		t.Errorf("%d threads, ran %s, waited %s, %v", len(g.Waits), g.Ran, g.Waited, err)
	}
}

// The real kernel: a VMM that is stopped, and one that goes on.
func TestGlanceAtARealVMM(t *testing.T) {
	b := newLab(t)
	v := b.launch("glance", qemu.PVHHalts)
	m := New(Config{Proc: "/proc", BootID: b.boot})
	seen := func(what string, fits func(vm.Glance) bool) {
		t.Helper()
		var g vm.Glance
		var err error
		for until := time.Now().Add(patience); time.Now().Before(until); <-time.After(10 * time.Millisecond) {
			if g, err = m.Look(v.Process); err == nil && fits(g) {
				return
			}
		}
		t.Fatalf("%s: %+v, %v", what, g, err)
	}
	lives := func(g vm.Glance) bool {
		return (g.State == vm.ProcessSleeping || g.State == vm.ProcessRunning) && g.Threads >= 2 && g.Ran > 0
	}
	seen("it lives", lives)
	b.must(unix.Kill(v.Process.PID, unix.SIGSTOP))
	seen("it was stopped", func(g vm.Glance) bool { return g.State == vm.ProcessStopped })
	b.must(unix.Kill(v.Process.PID, unix.SIGCONT))
	seen("it goes on", lives)
}

func BenchmarkLook(b *testing.B) {
	boot, err := procfs.Default.BootID()
	if err != nil {
		b.Fatal(err)
	}
	m := New(Config{Proc: "/proc", BootID: boot})
	line, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		b.Fatal(err)
	}
	s, _ := parseStat(line)
	p := vm.Process{PID: os.Getpid(), StartTime: s.start, BootID: boot}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Look(p); err != nil {
			b.Fatal(err)
		}
	}
}
