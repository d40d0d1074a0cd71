package meter

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/process"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// patience is for a machine that others use too.
const patience = 2 * time.Minute

// lab launches real VMMs, as a user of their own where we are root.
type lab struct {
	t        *testing.T
	dir      string
	launcher *process.Launcher
	driver   *qemu.Driver
	boot     vm.BootID
}

func newLab(t *testing.T) *lab {
	t.Helper()
	binary, err := qemu.Find("")
	if err != nil {
		t.Skipf("SKIP real QEMU: %v", err)
	}
	b := &lab{t: t, driver: qemu.New(qemu.Config{Binary: binary, Accel: qemu.AccelTCG, TSCKHz: qemu.HostTSCKHz()})}
	b.boot, err = procfs.Default.BootID()
	b.must(err)
	b.launcher, err = process.New(process.Config{Node: "meter-" + strconv.Itoa(os.Getpid()), BootID: b.boot})
	b.must(err)
	t.Cleanup(func() { _ = b.launcher.Close() })
	b.dir, err = os.MkdirTemp("", "bx")
	b.must(err)
	t.Cleanup(func() { _ = os.RemoveAll(b.dir) })
	b.must(os.Chmod(b.dir, 0o755))
	return b
}

func (b *lab) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// launch starts QEMU with a guest of that kind.
func (b *lab) launch(name string, end qemu.PVHEnd) vm.Metered {
	b.t.Helper()
	ref := vm.Ref{VM: vm.NewID(), Name: vm.Name(name), Incarnation: 1, BootID: b.boot}
	paths := host.NewPaths(b.dir, b.dir, ref)
	for _, folder := range []string{paths.Folder, paths.Run, paths.Disks} {
		b.must(os.MkdirAll(folder, 0o755))
		b.own(folder)
	}
	disk := paths.Disk("root")
	b.must(os.WriteFile(disk, nil, 0o600))
	b.must(os.Truncate(disk, int64(vm.GiB)))
	kernel := filepath.Join(paths.Folder, "guest.elf")
	b.must(os.WriteFile(kernel, qemu.PVHGuestThat(end), 0o600))
	b.own(disk)
	b.own(kernel)
	spec := vm.Spec{Name: ref.Name, CPUs: 1, Memory: 16 * vm.MiB, Boot: vm.Boot{Kernel: kernel}, Disks: []vm.Disk{{Name: "root", Size: vm.GiB}}}
	c, err := b.driver.Command(ref, spec, paths)
	b.must(err)
	p, err := b.launcher.Launch(b.t.Context(), c)
	b.must(err)
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := b.launcher.Kill(ctx, ref, nil); err != nil {
			b.t.Errorf("kill: %v", err)
		}
	})
	return vm.Metered{Ref: ref, Process: p, Folder: paths.Folder}
}

func (b *lab) own(path string) {
	b.t.Helper()
	uid, gid := host.Owners{}.Of(0)
	b.must(os.Chown(path, uid, gid))
}

// TestCountersOfRealVMMs: what a guest does moves them, and what its neighbour
// does doesn't.
func TestCountersOfRealVMMs(t *testing.T) {
	b := newLab(t)
	m := New(Config{Proc: "/proc", State: b.dir, BootID: b.boot})
	busy, idle := b.launch("busy", qemu.PVHFloods), b.launch("idle", qemu.PVHHalts)
	look := func() (of, still vm.Counters) {
		got, err := m.Read(t.Context(), []vm.Metered{busy, idle})
		if err != nil || len(got) != 2 {
			said, _ := os.ReadFile(filepath.Join(busy.Folder, "vmm-1.log"))
			t.Fatalf("%d VMMs measured, %v; QEMU says %q", len(got), err, said)
		}
		return got[busy.Ref.VM], got[idle.Ref.VM]
	}
	deadline, pace := time.NewTimer(patience), time.NewTicker(50*time.Millisecond)
	defer deadline.Stop()
	defer pace.Stop()
	first, quiet := look()
	for {
		now, still := look()
		if now.VCPU-first.VCPU > 300*time.Millisecond && first.VCPU > 0 && still.VCPU == quiet.VCPU && now.Disk > first.Disk {
			break
		}
		if first.VCPU == 0 || still.VCPU != quiet.VCPU { // they were not up when it began
			first, quiet = now, still
		}
		select {
		case <-pace.C:
		case <-deadline.C:
			t.Fatalf("after %v the busy one has %+v (at first %+v), the idle one %+v (at first %+v)", patience, now, first, still, quiet)
		}
	}
	now, still := look()
	for what, c := range map[string]vm.Counters{"busy": now, "idle": still} {
		if c.Memory < 8*vm.MiB || c.MemoryPeak < c.Memory || c.MemoryPeak > vm.GiB {
			t.Errorf("%s: memory %d, at most %d", what, c.Memory, c.MemoryPeak)
		}
		if c.CPU < c.VCPU || c.VCPU < 0 {
			t.Errorf("%s: processor time %s, of vCPUs %s", what, c.CPU, c.VCPU)
		}
		if c.DiskVirtual < vm.GiB || c.Disk > 512*vm.MiB {
			t.Errorf("%s: disk %d of %d", what, c.Disk, c.DiskVirtual)
		}
	}
	var fs unix.Statfs_t
	b.must(unix.Statfs(b.dir, &fs))
	if now.Written == 0 && fs.Type != unix.TMPFS_MAGIC { // memory is no storage
		t.Errorf("the busy one fills its console's log and has written nothing: %+v", now)
	}
	if err := b.launcher.Kill(t.Context(), busy.Ref, nil); err != nil {
		t.Fatal(err)
	}
	got, err := m.Read(t.Context(), []vm.Metered{busy, idle})
	if _, told := got[busy.Ref.VM]; told || len(got) != 1 || err != nil {
		t.Errorf("after its end: %+v, %v", got, err)
	}
}
