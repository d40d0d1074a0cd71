package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// A guest that is sick in each of its boots goes up the ladder of its remedies:
// its machine is reset in place, it is asked to power off, it is killed, and
// none of its deaths is forgotten on the way.
func TestSickGuestClimbsItsLadder(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ name, fault, cause, ends string }{
		{"asked", "escapes", "health-failed", "VMMGone"},          // its agent answers, and powers it off
		{"hung", "dead-agent", "health-failed", "DeadlinePassed"}, // nobody in it hears, so it is killed in time
		{"panicked", "panic", "guest-panic", ""},                  // there is nobody to be asked
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			spec := node.Builtin("sick", "blixard.fault="+one.fault+"@4s")
			spec.Health = append(spec.Health, &v1.Check{Type: "console", Unhealthy: "fault escapes"})
			spec.Stop = &v1.Stop{Timeout: seconds(5)}
			spec.Remedies = []*v1.Rung{{Do: "reset", Times: 1}, {Do: "restart", Times: 1}, {Do: "kill"}}
			first := w.up(spec)

			w.crashed("sick", 1, one.cause, "reset")
			again := w.healthy("sick", first.GetRevision())
			if again.GetPid() != first.GetPid() || again.GetIncarnation() != first.GetIncarnation() {
				t.Fatalf("a reset in place began process %d, incarnation %d; it was %d, %d",
					again.GetPid(), again.GetIncarnation(), first.GetPid(), first.GetIncarnation())
			}
			w.only(first.GetPid())

			second := "restart"
			if one.ends == "" {
				second = "kill"
			}
			w.crashed("sick", 2, one.cause, second)
			if one.ends != "" {
				w.event("the end of the asking", soon, func(e *v1.Event) bool { return e.GetKind() == one.ends && e.GetFrom() == "stopping" })
			}
			w.crashed("sick", 3, one.cause, "kill")
			_, err := w.StopOf(w.ctx, "sick", true)
			w.must(err)
			w.reaches("sick", "stopped", soon)
			w.only()
		})
	}
}

// crashed waits for a crash record and looks at what was done for it; all those before are still there.
func (w *world) crashed(name string, number uint64, cause, remedy string) {
	w.t.Helper()
	var all []*v1.Crash
	w.eventually("a death with its record", 2*boot, func() bool {
		var err error
		all, err = w.Crashes(w.ctx, name)
		w.must(err)
		return uint64(len(all)) >= number
	})
	for _, c := range all {
		if c.GetNumber() != number {
			continue
		}
		if c.GetCause() != cause || c.GetDecision().GetRemedy() != remedy || !c.GetDecision().GetCharged() {
			w.t.Fatalf("crash %d: %s, %v; want %s, %s, charged", number, c.GetCause(), c.GetDecision(), cause, remedy)
		}
		return
	}
	w.t.Fatalf("crash %d is missing among %d", number, len(all))
}

// A reset is over before anything else is: a daemon that is killed while one is
// due leaves no guest behind that is neither sick nor well.
func TestDaemonKilledWhileAResetIsDue(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("due", "blixard.fault=dead-agent@4s")
	spec.Remedies = []*v1.Rung{{Do: "reset"}}
	first := w.up(spec)
	w.event("the decision to reset", boot, func(e *v1.Event) bool { return e.GetKind() == "GuestToReset" })
	w.must(w.Kill())
	w.start()
	again := w.healthy("due", first.GetRevision())
	if again.GetPid() != first.GetPid() {
		t.Errorf("it came back as process %d, and was %d", again.GetPid(), first.GetPid())
	}
}

// A guest that hangs goes back to what it was when it became healthy: in the boot
// that it was in then, without the wait for another one. The second time its
// ladder leads on.
func TestAHungGuestIsRestored(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("good", "")
	spec.Health = append(spec.Health, &v1.Check{ // a kernel makes the name of its boot when it is first asked
		Type: "exec", Role: "startup", Command: []string{"cat", "/proc/sys/kernel/random/boot_id"},
	})
	spec.Remedies = []*v1.Rung{{Do: "restore", Times: 1}, {Do: "kill"}}
	first := w.up(spec)
	w.event("its known-good state", boot, func(e *v1.Event) bool { return e.GetKind() == "GuestKept" })
	was := w.life("good")
	kept := w.known("good", 1)

	w.hurt("good", "fault", "hang")
	w.crashed("good", 1, "health-failed", "restore")
	second := w.next(first)
	if is := w.life("good"); is != was || second.GetIncarnation() != first.GetIncarnation()+1 {
		t.Fatalf("boot %s in incarnation %d, it was %s in %d", is, second.GetIncarnation(), was, first.GetIncarnation())
	}
	w.only(second.GetPid())
	booted, restored := comeUp(first), comeUp(second)
	t.Logf("the boot took %s, the restore %s, with %d MiB on the disk", booted, restored, kept>>20)
	if still := w.known("good", 1); still != kept {
		t.Errorf("the file had %d bytes, and has %d", kept, still)
	}

	w.hurt("good", "fault", "hang")
	w.crashed("good", 2, "health-failed", "kill")
	third := w.next(second)
	if is := w.life("good"); is == was || third.GetIncarnation() != second.GetIncarnation()+1 {
		t.Fatalf("the second time it did not boot: incarnation %d", third.GetIncarnation())
	}
	w.eventually("the next known-good state, and no other", soon, func() bool {
		found := goods(w.State)
		return len(found) == 1 && filepath.Base(found[0]) == fmt.Sprintf("good-%d.state", third.GetIncarnation())
	})
	_, err := w.StopOf(w.ctx, "good", true)
	w.must(err)
	w.reaches("good", "stopped", soon)
	w.eventually("its known-good state to go", soon, func() bool { return len(goods(w.State)) == 0 })
}

// comeUp is how long an incarnation took from its launch to its guest's answer.
func comeUp(v *v1.VM) time.Duration { return v.GetReadyAt().AsTime().Sub(v.GetStartedAt().AsTime()) }

func goods(root string) []string {
	found, err := filepath.Glob(filepath.Join(root, "vms", "*", "good-*"))
	if err != nil {
		panic(err) // the pattern is ours
	}
	return found
}

// known is the size of a VM's known-good state, which is that of an incarnation.
func (w *world) known(name string, n int) int64 {
	w.t.Helper()
	at := filepath.Join(w.State, "vms", name, fmt.Sprintf("good-%d.state", n))
	info, err := os.Stat(at)
	w.must(err)
	if found := goods(w.State); len(found) != 1 {
		w.t.Errorf("want %s alone, got %v", at, found)
	}
	return info.Size()
}

// A state that was damaged costs a boot, which says why, and nothing else.
func TestAKnownGoodStateThatDoesNotLoad(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("bent", "")
	spec.Remedies = []*v1.Rung{{Do: "restore"}}
	first := w.up(spec)
	w.event("its known-good state", boot, func(e *v1.Event) bool { return e.GetKind() == "GuestKept" })
	w.must(w.Kill()) // it outlives the daemon
	w.start()
	file, err := os.OpenFile(goods(w.State)[0], os.O_WRONLY, 0)
	w.must(err)
	_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, 1<<20), 1<<20) // a file that is cut short is found out before it is needed
	w.must(errors.Join(err, file.Close()))
	w.healthy("bent", 0)
	w.hurt("bent", "fault", "hang")
	w.crashed("bent", 1, "health-failed", "restore")
	next := w.healthy("bent", first.GetRevision())
	all, err := w.Crashes(w.ctx, "bent")
	w.must(err)
	for _, c := range all {
		if c.GetNumber() == 2 && (c.GetCause() != "saved-state" || c.GetDecision().GetCharged() || !strings.Contains(c.GetEvidence(), "isn't what was written")) {
			t.Errorf("a damaged state: %v", c)
		}
	}
	if len(all) != 2 || next.GetIncarnation() != 3 {
		t.Errorf("%d crashes, incarnation %d", len(all), next.GetIncarnation())
	}
	w.eventually("the next known-good state", soon, func() bool {
		found := goods(w.State)
		return len(found) == 1 && filepath.Base(found[0]) == "good-3.state"
	})
}
