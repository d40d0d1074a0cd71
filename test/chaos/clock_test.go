package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blixard/blixard/test/node"
)

// The clock jumps by an hour, forth and back, while VMs run, while one waits for
// its next try, and over a restart of the daemon. No guest notices, no try is
// lost, and none waits for the hour: P4, P6, P10, P16.
func TestAClockThatJumpsByAnHourHarmsNobody(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "off")
	w := begin(t, node.Options{Args: []string{"--enable-faults"}, Env: []string{"BLIXARD_CLOCK=" + file}})
	jump := func(off string) {
		t.Helper()
		w.must(os.WriteFile(file+".new", []byte(off), 0o600))
		w.must(os.Rename(file+".new", file))
	}
	steady := w.up(w.pvh("steady"))
	spec := w.pvh("flapping")
	spec.Restart = node.Patient(2 * time.Second)
	flapping := w.up(spec)
	for i, off := range []string{"1h", "0s", "-1h", "0s"} {
		w.strike(flapping)
		w.reaches("flapping", "backoff", soon)
		jump(off)
		flapping = w.healthy("flapping", flapping.GetRevision())
		jump([]string{"-2h", "2h"}[i%2]) // the daemon starts again when its next try seems long past, or hours away
		w.strike(flapping)
		w.reaches("flapping", "backoff", soon)
		w.must(w.Kill())
		jump(off)
		w.start()
		flapping = w.healthy("flapping", flapping.GetRevision())
		if now := w.healthy("steady", 0); now.GetPid() != steady.GetPid() {
			t.Fatalf("clock at %s: the guest that nobody touched was restarted: %v", off, now.GetLastExit())
		}
		_, err := w.ResetOf(w.ctx, "flapping")
		w.must(err)
	}
}
