package runner

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/host/unlinked"
	"github.com/blixard/blixard/vm"
)

// The runner's VMM listens on, and is reached, when somebody deleted the name of
// its socket; whoever is not its process has no such socket.
func TestASocketIsReachedWithoutItsName(t *testing.T) {
	needRoot(t, "a descriptor of another process")
	w := newWorld(t)
	w.qemuRunner(qemu.PVHGuest())
	w.prepare()
	p := w.launch()
	s, _ := w.attach()
	s.Close()
	if err := os.Remove(w.inWork("web.sock")); err != nil {
		t.Fatal(err)
	}
	stat, err := procfs.Default.Stat(p.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	boot, err := procfs.Default.BootID()
	if err != nil {
		t.Fatal(err)
	}
	by := vm.Process{PID: p.Process.Pid, StartTime: stat.StartTime, BootID: boot}
	if conn, err := unlinked.Dial(t.Context(), by, "web.sock"); host.KindOf(err) == host.Denied {
		t.Skipf("this machine lets nobody have a socket without its name: %v", err)
	} else if err == nil {
		_ = conn.Close()
	}
	w.paths.VMM = by
	s, _ = w.attach()
	w.wantState(s, host.GuestRuns)
	s.Close()

	w.paths.VMM.StartTime++ // another process by now
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = w.driver.Attach(ctx, w.spec, w.paths, func(host.Notice) {})
	wantKind(t, "another process", err, host.Transient, "web.sock")
}
