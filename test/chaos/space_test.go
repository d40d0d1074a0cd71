package chaos

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// A disk that can't grow halts its guest in the midst of a write: it is paused
// with that cause, not sick and not dead; and when there is room it goes on
// where it stood, by itself, also after a restart of the daemon.
func TestAFullDiskHaltsAGuestAndRoomLetsItGoOn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	small := filepath.Join(w.Root, "small")
	w.must(os.Mkdir(small, 0o755))
	if err := unix.Mount("blixard-test", small, "tmpfs", 0, "size=24m,mode=755"); err != nil {
		t.Skipf("no file system of our own can be mounted: %v", err)
	}
	t.Cleanup(func() { w.must(unix.Unmount(small, unix.MNT_DETACH)) })
	disk := filepath.Join(small, "data.raw")
	w.must(os.WriteFile(disk, nil, 0o666))
	w.must(os.Chmod(disk, 0o666)) // the VMM has a user of its own
	w.must(os.Truncate(disk, 64<<20))
	spec := node.Builtin("writer", "")
	spec.Disks = []*v1.Disk{{Name: "data", Path: disk}}
	vm := w.up(spec)

	wrote := make(chan node.Result, 1)
	go func() {
		r, _ := w.CLI(w.ctx, "vm", "exec", "writer", "--timeout", "2m", "--", "fill", "40", "/dev/vda")
		wrote <- r
	}()
	still := w.reaches("writer", "paused", soon)
	if !strings.Contains(still.GetStalled(), "data") || still.GetIntent() != "running" {
		t.Errorf("want it stalled by the disk data and wanted up: stalled %q, intent %s", still.GetStalled(), still.GetIntent())
	}
	w.must(w.Kill())
	w.start()
	w.eventually("it stands still under the next daemon", soon, func() bool {
		seen, err := w.Get(w.ctx, "writer")
		return err == nil && seen.GetPhase() == "paused" && seen.GetPid() == vm.GetPid()
	})
	w.must(unix.Mount("blixard-test", small, "tmpfs", unix.MS_REMOUNT, "size=160m"))
	on, err := w.Wait(w.ctx, "writer", node.Goal{Phase: "running", Health: "healthy", Within: time.Minute})
	w.must(err)
	if on.GetPid() != vm.GetPid() || on.GetIncarnation() != vm.GetIncarnation() || on.GetCrashes() != 0 {
		t.Errorf("want the same guest: pid %d became %d, incarnation %d, %d crashes", vm.GetPid(), on.GetPid(), on.GetIncarnation(), on.GetCrashes())
	}
	<-wrote // its own command lost its agent with the first daemon
	if r := w.ctl(0, "vm", "exec", "writer", "--", "fill", "40", "/dev/vda"); r.Code != 0 {
		t.Errorf("writing again: %v", r)
	}
}
