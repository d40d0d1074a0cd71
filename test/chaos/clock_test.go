package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
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
		w.waits(flapping)
		jump(off)
		flapping = w.next(flapping)
		jump([]string{"-2h", "2h"}[i%2]) // the daemon starts again when its next try seems long past, or hours away
		w.strike(flapping)
		w.waits(flapping)
		w.must(w.Kill())
		jump(off)
		w.start()
		flapping = w.next(flapping)
		if now := w.healthy("steady", 0); now.GetPid() != steady.GetPid() {
			t.Fatalf("clock at %s: the guest that nobody touched was restarted: %v", off, now.GetLastExit())
		}
		_, err := w.ResetOf(w.ctx, "flapping")
		w.must(err)
	}
}

// waits returns when the VM waits for its next try, with its timer set: the
// test's clock has no monotonic part, so that a jump between the turn and its
// timer would do what none of a real clock does. It asks the journal: a wait
// that is over at once, as the clock says it, is no state that can be waited for.
func (w *world) waits(was *v1.VM) {
	w.t.Helper()
	e := w.event("a wait for the next try", soon, func(e *v1.Event) bool {
		return e.GetVm() == was.GetName() && e.GetIncarnation() == was.GetIncarnation() && e.GetTo() == "backoff"
	})
	line := fmt.Sprintf(`"vm":%q,"phase":"reaping","event":"ReleasedToBackoff","to":"backoff","incarnation":%d,"revision":%d,`, e.GetVm(), e.GetIncarnation(), e.GetRevision())
	w.eventually("its timer is set, as its log says: "+line, soon, func() bool { return strings.Contains(w.LogTail(1<<20), line) })
}
