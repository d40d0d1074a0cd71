package netlink

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/meter"
	"github.com/blixard/blixard/host/process"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// bootROM is what QEMU gives a NIC that isn't told to have none. It drives
// virtio-net by itself and asks for an address: a guest that needs no disk.
const bootROM = "/usr/lib/ipxe/qemu/efi-virtio.rom"

// lab is a node with a launcher, for one real VM.
type lab struct {
	links    *Links
	launcher *process.Launcher
	driver   *qemu.Driver
	ref      vm.Ref
	paths    host.Paths
}

func newLab(t *testing.T) *lab {
	t.Helper()
	binary, err := qemu.Find("")
	if err != nil {
		t.Skipf("SKIP real QEMU: %v", err)
	}
	boot, err := procfs.Default.BootID()
	must(t, err)
	launcher, err := process.New(process.Config{Node: node + "-" + strconv.Itoa(os.Getpid()), BootID: boot})
	must(t, err)
	t.Cleanup(func() { _ = launcher.Close() })
	dir, err := os.MkdirTemp("", "bx")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	b := &lab{
		links: links(t, makesBr0), launcher: launcher, ref: vm.Ref{VM: vmID, Name: "web-1", Slot: 3, Incarnation: 7, BootID: boot},
		driver: qemu.New(qemu.Config{Binary: binary, Accel: qemu.AccelTCG, TSCKHz: qemu.HostTSCKHz()}),
	}
	b.paths = host.NewPaths(dir, dir, b.ref)
	for _, folder := range []string{b.paths.Folder, b.paths.Run, b.paths.Disks} {
		must(t, os.MkdirAll(folder, 0o755))
		must(t, os.Chown(folder, uid, gid))
	}
	return b
}

// launch makes the taps and starts QEMU as its own user, with their descriptors.
func (b *lab) launch(t *testing.T, spec vm.Spec, bend func(argv []string)) {
	t.Helper()
	c, err := b.driver.Command(b.ref, spec, b.paths)
	must(t, err)
	bend(c.Argv)
	_, err = b.links.Ensure(t.Context(), b.ref, spec.Networks, c.UID, c.GID)
	must(t, err)
	if c.UID != uid || len(c.Taps) != len(spec.Networks) {
		t.Fatalf("the VMM would run as %d with taps %v", c.UID, c.Taps)
	}
	_, err = b.launcher.Launch(t.Context(), c)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := b.launcher.Kill(ctx, b.ref, nil); err != nil {
			t.Errorf("kill: %v", err)
		}
		if err := b.links.Release(ctx, b.ref, spec.Networks); err != nil {
			t.Errorf("release: %v", err)
		}
		gone(t, tap0)
	})
}

func (b *lab) stderr() string {
	text, _ := os.ReadFile(b.paths.Stderr)
	return string(text)
}

// TestFramesOfARealGuestCrossItsTap, and the tap's deletion under it is told.
func TestFramesOfARealGuestCrossItsTap(t *testing.T) {
	if _, err := os.Stat(bootROM); err != nil {
		t.Skipf("SKIP frames of a guest: no boot ROM that sends any: %v", err)
	}
	b := newLab(t)
	blank := filepath.Join(b.paths.Disks, "blank.raw")
	must(t, os.WriteFile(blank, make([]byte, 1<<20), 0o600))
	must(t, os.Chown(blank, uid, gid))
	mac := []byte{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}
	spec := vm.Spec{Name: "web-1", CPUs: 1, Memory: 64 * vm.MiB, Boot: vm.Boot{Disk: blank}, Networks: []vm.Network{
		{Mode: vm.NetworkBridge, Bridge: "br0", MAC: "52:54:00:12:34:56"}, {Mode: vm.NetworkBridge, Bridge: "br0", MTU: 1400},
	}}
	_, _, err := b.links.bridge("br0")
	must(t, err)
	wire := listen(t, get(t, "br0"))
	began := time.Now()
	b.launch(t, spec, func(argv []string) {
		for i, word := range argv {
			if strings.Contains(word, "netdev=net0,") {
				argv[i] = strings.Replace(word, ",romfile=", ",bootindex=1", 1)
			}
		}
	})
	n := watchTaps(t, b.links, b.ref, spec.Networks)
	frame := make([]byte, 2048)
	for {
		length, err := unix.Read(wire, frame)
		if errors.Is(err, unix.EINTR) { // a signal of the runtime's
			continue
		}
		if err != nil {
			t.Fatalf("no frame of the guest crossed its tap in %v: %v; QEMU says %q", time.Since(began), err, b.stderr())
		}
		if length > 42 && bytes.Equal(frame[6:12], mac) {
			break
		}
	}
	t.Logf("a frame of type %#x%02x came %v after the launch", frame[12], frame[13], time.Since(began).Round(time.Millisecond))
	if !bytes.Equal(frame[:6], bytes.Repeat([]byte{0xff}, 6)) || frame[12] != 8 || frame[13] != 0 {
		t.Errorf("it is no IPv4 broadcast: % x", frame[:42])
	}
	b.measured(t)
	must(t, rtnl.LinkSetDown(get(t, tap0)))
	n.await(t, false, "was down and is up again")
	must(t, rtnl.LinkDel(get(t, tap1)))
	n.await(t, true, tap1)
	if _, err := b.launcher.Find(t.Context(), b.ref, nil); err != nil {
		t.Errorf("the VMM ended with its tap: %v", err)
	}
}

// measured: what the guest has sent by now is counted as sent, and by its own taps.
func (b *lab) measured(t *testing.T) {
	t.Helper()
	p, err := b.launcher.Find(t.Context(), b.ref, nil)
	must(t, err)
	of := vm.Metered{Ref: b.ref, Process: p, Links: []string{tap0}}
	quiet := vm.Metered{Ref: vm.Ref{VM: "quiet"}, Process: p, Links: []string{"no-tap"}}
	got, err := meter.New(meter.Config{Proc: "/proc", State: "/", BootID: b.ref.BootID}).Read(t.Context(), []vm.Metered{of, quiet})
	must(t, err)
	if c := got[vmID]; c.Sent < 42 || c.Packets == 0 {
		t.Errorf("a frame of the guest crossed its tap, and it is told to have sent %d bytes in %d packets", c.Sent, c.Packets)
	}
	if c := got["quiet"]; c.Sent != 0 || c.Received != 0 || c.CPU == 0 {
		t.Errorf("a VM without a tap: %+v", c)
	}
}

// TestAMicroVMHoldsItsTaps: the other kind of machine takes the same descriptors.
func TestAMicroVMHoldsItsTaps(t *testing.T) {
	b := newLab(t)
	kernel := filepath.Join(b.paths.Folder, "guest.elf")
	must(t, os.WriteFile(kernel, qemu.PVHGuest(), 0o600))
	must(t, os.Chown(kernel, uid, gid))
	spec := vm.Spec{Name: "web-1", CPUs: 1, Memory: 8 * vm.MiB, Boot: vm.Boot{Kernel: kernel}, Networks: append(onBr0, onBr0[0])}
	b.launch(t, spec, func([]string) {})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := b.driver.Attach(ctx, spec, b.paths, func(host.Notice) {})
	if err != nil {
		t.Fatalf("attach: %v; QEMU says %q", err, b.stderr())
	}
	defer s.Close()
	if state, err := s.State(ctx); err != nil || state != host.GuestRuns {
		t.Errorf("the guest is %s, %v", state, err)
	}
	for _, name := range []string{tap0, tap1} {
		if !held(get(t, name)) {
			t.Errorf("nobody holds %s", name)
		}
	}
	later := b.ref
	later.Incarnation++
	if _, err := b.links.Ensure(ctx, later, spec.Networks, uid, gid); host.KindOf(err) != host.Transient || !strings.Contains(err.Error(), "(blixard-web-1)") {
		t.Errorf("ensure beside a live VMM: %v", err)
	}
}

// listen hears every frame of a link.
func listen(t *testing.T, link rtnl.Link) int {
	t.Helper()
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in the order of the network
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 90}))
	return fd
}
