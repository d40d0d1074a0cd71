package meter

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestAllThatIsToldOfAVMM(t *testing.T) {
	w := newTree(t)
	w.mountsV2()
	w.stalls("/blixard.slice/blixard-a.service")
	w.write("cgroup/blixard.slice/blixard-a.service/memory.max", "209715200\n")
	a := metered("A", w.vmm(4711, "0::/blixard.slice/blixard-a.service\n"))
	a.Links = []string{"blx1n0", "blx1n1"}
	w.write("proc/net/dev", "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop fifo\n"+
		"    lo:    9579      87    0    0    0     0          0         0     9579      87    0    0    0     0       0          0\n"+
		"blx1n0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"+
		"blx1n1:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n")
	a.Folder = filepath.Join(w.root, "vms/a")
	w.write("vms/a/manifest.json", "{}")

	c := w.read(New(w.conf), a)["A"]
	if c.Disk <= 0 || c.DiskVirtual < c.Disk || time.Since(c.At) > time.Minute {
		t.Errorf("disk %d of %d at %s", c.Disk, c.DiskVirtual, c.At)
	}
	c.At, c.Disk, c.DiskVirtual = time.Time{}, 0, 0
	want := vm.Counters{
		CPU: 3700 * time.Millisecond, VCPU: 2 * time.Second, Memory: 97324 * vm.KiB, MemoryPeak: 102400 * vm.KiB,
		Limit: 200 * vm.MiB, Read: 4096, Written: 8192, Received: 2007, Sent: 1005, Packets: 32, Stalled: stalled,
	}
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestLimitInTheOldHierarchyAndPressureInTheNew(t *testing.T) {
	w := newTree(t)
	w.mountsV1()
	w.stalls("/blixard/a")
	w.write("memory/blixard/a/memory.limit_in_bytes", "104857600\n")
	w.write("memory/blixard/b/memory.limit_in_bytes", "9223372036854771712\n")
	a := metered("A", w.vmm(4711, "9:name=systemd:/\n4:memory:/blixard/a\n1:cpu,cpuacct:/\n0::/blixard/a\n"))
	b := metered("B", w.vmm(5711, "4:memory:/blixard/b\n0::/\n"))
	got := w.read(New(w.conf), a, b)
	if c := got["A"]; c.Limit != 100*vm.MiB || c.Stalled != stalled {
		t.Errorf("A: %+v", c)
	}
	if c := got["B"]; c.Limit != 0 || c.Stalled != (vm.Stalls{}) {
		t.Errorf("B has no limit and no cgroup in the new hierarchy: %+v", c)
	}
}

func TestSharedCgroupIsToldOfNone(t *testing.T) {
	for what, cgroups := range map[string][2]string{
		"the daemon's":     {"0::/system.slice/blixard.service\n", "0::/b\n"},
		"another VMM's":    {"0::/a\n", "0::/a\n"},
		"the root":         {"0::/\n", "0::/b\n"},
		"out of sight":     {"0::/../a\n", "0::/b\n"},
		"none":             {"", "0::/b\n"},
		"rubbish":          {":\n::::\n0:\x00\n0::relative\n", "0::/b\n"},
		"without pressure": {"0::/without\n", "0::/b\n"},
	} {
		t.Run(what, func(t *testing.T) {
			w := newTree(t)
			w.mountsV2()
			for _, cgroup := range []string{"/a", "/b", "", "/system.slice/blixard.service"} {
				w.stalls(cgroup)
				w.write("cgroup"+cgroup+"/memory.max", "4096\n")
			}
			a, b := metered("A", w.vmm(4711, cgroups[0])), metered("B", w.vmm(5711, cgroups[1]))
			got := w.read(New(w.conf), a, b)
			if c := got["A"]; c.Limit != 0 || c.Stalled != (vm.Stalls{}) || c.CPU == 0 {
				t.Errorf("%+v", c)
			}
			if c := got["B"]; cgroups[1] == "0::/b\n" && (c.Limit != 4096 || c.Stalled != stalled) {
				t.Errorf("its neighbour: %+v", c)
			}
		})
	}
}

func TestProcessIsProvedBeforeAnythingIsToldOfIt(t *testing.T) {
	w := newTree(t)
	good := metered("good", w.vmm(100, ""))
	reused := metered("reused", w.vmm(200, ""))
	reused.Process.StartTime++
	otherBoot := metered("boot", w.vmm(300, ""))
	otherBoot.Process.BootID = "0c1a2b3c-0000-4000-8000-000000000002"
	gone := metered("gone", vm.Process{PID: 999, StartTime: 1, BootID: bootID})
	zombie := metered("zombie", w.vmm(400, ""))
	w.write("proc/400/stat", strings.Replace(thread(400, "qemu", 1, 1, 4000), ") S", ") Z", 1))
	garbled := metered("garbled", w.vmm(500, ""))
	w.write("proc/500/stat", "500 (qemu")
	none := metered("none", vm.Process{BootID: bootID})
	got := w.read(New(w.conf), gone, reused, zombie, garbled, otherBoot, none, good)
	if len(got) != 1 || got["good"].CPU == 0 {
		t.Errorf("told of %+v", got)
	}
}

func TestWhatCannotBeReadIsZero(t *testing.T) {
	w := newTree(t)
	a := metered("A", w.vmm(4711, "0::/a\n"))
	a.Links, a.Folder = []string{"blx1n0"}, "/nowhere"
	for _, name := range []string{"status", "io", "cgroup", "task"} {
		if err := os.RemoveAll(filepath.Join(w.conf.Proc, "4711", name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(w.conf.Proc + "/net"); err != nil {
		t.Fatal(err)
	}
	c := w.read(New(w.conf), a)["A"]
	c.At = time.Time{}
	if c != (vm.Counters{CPU: 3700 * time.Millisecond}) {
		t.Errorf("%+v", c)
	}
}

func TestThreadsAreSettledAfterTwoLooks(t *testing.T) {
	w := newTree(t)
	a := metered("A", w.vmm(4711, ""))
	late := filepath.Join(w.conf.Proc, "4711/task/4714")
	hidden := filepath.Join(w.root, "4714")
	if err := os.Rename(late, hidden); err != nil { // QEMU has not made it yet
		t.Fatal(err)
	}
	m := New(w.conf)
	want := func(why string, d time.Duration) {
		t.Helper()
		if got := w.read(m, a)["A"].VCPU; got != d {
			t.Errorf("%s: %s, want %s", why, got, d)
		}
	}
	want("one vCPU", time.Second)
	if err := os.Rename(hidden, late); err != nil {
		t.Fatal(err)
	}
	want("the second came", 2*time.Second)
	want("both again", 2*time.Second)
	w.write("proc/4711/task/4712/comm", "CPU 7/TCG\n")
	want("settled: no look any more", 2*time.Second)
	if err := os.RemoveAll(late); err != nil {
		t.Fatal(err)
	}
	want("one was unplugged, and another came", 2*time.Second-time.Second)
}

func TestProcessWithoutNamedThreadsIsLookedAtEverMoreSeldom(t *testing.T) {
	w := newTree(t)
	a := metered("A", w.vmm(4711, ""))
	for _, id := range []int{4712, 4713, 4714} {
		w.write(fmt.Sprintf("proc/4711/task/%d/comm", id), "qemu-system-x86\n")
	}
	m := New(w.conf)
	for range 200 {
		w.read(m, a)
	}
	of := &m.known[name{4711, 47110}].threads
	if of.tries != rarest {
		t.Errorf("200 passes, and the looks are as rare as after %d", of.tries)
	}
	w.write("proc/4711/task/4712/comm", "CPU 0/KVM\n")
	w.write("proc/4711/task/4712/stat", thread(4712, "CPU 0/KVM", 60, 40, 1))
	passes := 1
	for w.read(m, a)["A"].VCPU == 0 && passes < 1000 {
		passes++
	}
	if passes > 1<<rarest {
		t.Errorf("a vCPU was seen after %d passes", passes)
	}
}

func TestWhatIsGoneIsForgotten(t *testing.T) {
	w := newTree(t)
	a, b := metered("A", w.vmm(4711, "")), metered("B", w.vmm(5711, ""))
	m := New(w.conf)
	w.read(m, a, b)
	w.read(m, a)
	if len(m.known) != 1 {
		t.Errorf("%d processes are remembered", len(m.known))
	}
}

func TestCancelledReadTellsWhatItHas(t *testing.T) {
	w := newTree(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(w.conf).Read(ctx, []vm.Metered{metered("A", w.vmm(4711, ""))}); host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("%v", err)
	}
}

func TestNodeIsMeasured(t *testing.T) {
	w := newTree(t)
	w.write("proc/stat", "cpu  100 20 30 999 888 5 6 777 50 0\ncpu0 1 2 3\nintr 7\n")
	w.write("proc/meminfo", "MemTotal:        4040404 kB\nMemFree:          100 kB\nMemAvailable:    3040404 kB\n")
	w.conf.Pressure = func() (host.Pressure, error) { return host.Pressure{CPU: 1, Memory: 2, IO: 3}, nil }
	u, err := New(w.conf).Node(t.Context())
	if err != nil || u.Busy != 1610*time.Millisecond || u.Memory != 1000000*vm.KiB || u.CPU != 1 || u.MemoryWait != 2 || u.IO != 3 {
		t.Errorf("%+v, %v", u, err)
	}
	if u.CPUs != 1 || u.MemoryOf != 4040404*vm.KiB {
		t.Errorf("of which machine: %+v", u)
	}
	for _, one := range []struct{ used, of, wantUsed, wantOf vm.Bytes }{
		{0, 0, 1000000 * vm.KiB, 4040404 * vm.KiB},
		{10 * vm.MiB, 100 * vm.MiB, 1000000 * vm.KiB, 4040404 * vm.KiB}, // the machine has less left
		{90 * vm.MiB, 100 * vm.MiB, 90 * vm.MiB, 100 * vm.MiB},
	} {
		w.conf.Use = func() (used, of vm.Bytes) { return one.used, one.of }
		if u, err := New(w.conf).Node(t.Context()); err != nil || u.Memory != one.wantUsed || u.MemoryOf != one.wantOf {
			t.Errorf("a cgroup with %s of %s: %+v, %v", one.used, one.of, u, err)
		}
	}
	w.write("proc/meminfo", "MemTotal: 4000 kB\nMemAvailable: 1000 kB\nHugetlb: 2000 kB\n")
	w.conf.Use = nil
	if u, err := New(w.conf).Node(t.Context()); err != nil || u.Memory != 1000*vm.KiB || u.MemoryOf != 2000*vm.KiB {
		t.Errorf("huge pages: %+v, %v", u, err)
	}
	if u.DiskUsed <= 0 || u.DiskFree <= 0 || u.At.IsZero() {
		t.Errorf("disk: %+v", u)
	}
	w.conf.State = "/nowhere"
	if u, err := New(w.conf).Node(t.Context()); err == nil || u.Memory == 0 {
		t.Errorf("without its folder: %+v, %v", u, err)
	}
}
