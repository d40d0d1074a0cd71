package chaos

import (
	"testing"

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
