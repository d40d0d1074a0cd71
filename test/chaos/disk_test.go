package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// smallDisk gives the node a state folder on a file system of its own.
func smallDisk(t *testing.T, options string, flags uintptr) *world {
	t.Helper()
	w := empty(t, node.Options{})
	w.must(os.MkdirAll(w.State, 0o755))
	if err := unix.Mount("blixard-test", w.State, "tmpfs", flags, options); err != nil {
		t.Skipf("no file system of our own can be mounted: %v", err)
	}
	t.Cleanup(func() { w.must(unix.Unmount(w.State, unix.MNT_DETACH)) })
	return w
}

func TestFullDiskLosesNothingAndHeals(t *testing.T) {
	t.Parallel()
	w := smallDisk(t, "size=96m,mode=755", 0)
	w.start()
	vm := w.up(w.pvh("kept"))
	fill := filepath.Join(w.State, "filler")
	w.must(fillDisk(fill))
	var refused error
	for range 200 { // until the store needs space that isn't there
		if refused = w.createAndDelete("extra"); refused != nil {
			break
		}
	}
	w.only(vm.GetPid()) // P6: whatever the daemon does, the guest lives on
	w.must(os.Remove(fill))
	w.eventually("a daemon answers", boot, func() bool {
		if !w.alive() {
			w.start()
		}
		_, err := w.Get(w.ctx, "kept")
		return err == nil
	})
	still := w.healthy("kept", 0)
	if still.GetPid() != vm.GetPid() {
		t.Errorf("pid %d became %d", vm.GetPid(), still.GetPid())
	}
	w.roomy()
	again := w.up(w.pvh("later"))
	w.only(vm.GetPid(), again.GetPid())
	t.Logf("while the disk was full: %v", refused)
}

// roomy waits until the daemon has seen that there is room again: at its next
// look at the machine, half a minute away, or at its start.
func (w *world) roomy() {
	w.t.Helper()
	if !allScenarios() {
		w.must(w.Kill())
		w.start()
	}
	w.eventually("there is room again", time.Minute, func() bool {
		status, err := w.NodeStatus(w.ctx, connect.NewRequest(&v1.NodeStatusRequest{}))
		w.must(err)
		return status.Msg.GetLowSpace() == ""
	})
}

func (w *world) createAndDelete(name string) error {
	if _, err := w.Create(w.ctx, w.pvh(name), false); err != nil {
		return err
	}
	if _, err := w.DeleteOf(w.ctx, name); err != nil {
		return err
	}
	return w.Removed(w.ctx, name, soon)
}

// alive says whether the daemon still runs; a full disk may end it, in order.
func (w *world) alive() bool {
	_, err := w.Exit(3 * time.Second)
	return err != nil
}

// fillDisk writes until nothing fits any more.
func fillDisk(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
	return nil
}

func TestReadOnlyStateFolderIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	w := smallDisk(t, "size=1m,mode=755", unix.MS_RDONLY)
	w.must(w.Launch())
	code, err := w.Exit(soon)
	if err != nil || code == 0 {
		t.Errorf("want a refusal, got exit code %d, %v", code, err)
	}
	w.oneLine(w.LogTail(4000))
}
