package chaos

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

func seconds(n int) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }

// endsBy brings a guest up that ends by what its command line asks for, and isn't
// started again meanwhile.
func (w *world) endsBy(name, words string) *v1.Event {
	w.t.Helper()
	spec := node.Builtin(name, words)
	spec.Restart = node.Patient(time.Hour)
	spec.Restart.Policy = "always"
	w.up(spec)
	w.patience(2*boot + quiet)
	return w.ended(name, boot+quiet) // one that burns its processor is judged in a quiet moment alone: see judged
}

// Each way in which a guest ends by itself has a name of its own.
func TestGuestsOwnEndHasItsCause(t *testing.T) {
	t.Parallel()
	for _, one := range []struct{ fault, cause string }{
		{"panic", "guest-panic"},
		{"exit", "guest-panic"},
		{"oom", "guest-panic"},
		{"poweroff", "guest-poweroff"},
		{"halt", "health-failed"},
		{"lockup", "health-failed"},
		{"dead-agent", "health-failed"},
		{"lying-agent", "health-failed"},
	} {
		t.Run(one.fault, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			if end := w.endsBy("guest", "blixard.fault="+one.fault+"@4s"); end.GetCause() != one.cause {
				t.Errorf("want %s, got %s: %s", one.cause, end.GetCause(), end.GetWhy())
			}
		})
	}
}

// A guest without a driver for its panic device that reboots after its panic, as
// most are set up to, is known by its console.
func TestAPanicThatNoDeviceTellsOfIsNoReboot(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.endsBy("mute", "module_blacklist=pvpanic_mmio,pvpanic blixard.fault=panic@4s")
	crashes, err := w.Crashes(w.ctx, "mute")
	w.must(err)
	if len(crashes) != 1 {
		t.Fatalf("want one crash, got %v", crashes)
	}
	crash := crashes[0]
	if crash.GetCause() != "guest-panic" || crash.GetConfidence() != "likely" || !strings.Contains(crash.GetEvidence(), "Kernel panic - not syncing: sysrq triggered crash") {
		t.Errorf("got %s (%s): %s", crash.GetCause(), crash.GetConfidence(), crash.GetEvidence())
	}
}

func TestGuestsPoweroffIsNoFailure(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.up(node.Builtin("done", "blixard.fault=poweroff@3s"))
	vm := w.reaches("done", "stopped", boot)
	exit := vm.GetLastExit()
	if exit.GetCause() != "guest-poweroff" || exit.GetDecision().GetDo() != "stay-down" {
		t.Errorf("want a poweroff that stays down under on-failure, got %v", exit)
	}
	w.only()
}

func TestGuestsRebootIsSeen(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("again", "blixard.fault=reboot@3s")
	w.up(spec)
	w.event("a reset of the guest", boot, func(e *v1.Event) bool {
		return e.GetKind() == "GuestReset" || e.GetCause() == "guest-reset"
	})
}

func TestStopAsksTheGuestFirst(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.up(node.Builtin("polite", ""))
	_, err := w.StopOf(w.ctx, "polite", false)
	w.must(err)
	vm := w.reaches("polite", "stopped", boot)
	w.only()
	if vm.GetPid() != 0 || vm.GetIntent() != "stopped" || vm.GetRestarts().GetInWindow() != 0 {
		t.Errorf("want it down, wanted down and not charged: %v", vm)
	}
	for _, e := range w.events("polite") {
		if e.GetTo() == "killing" {
			t.Errorf("a guest that answers was killed: %s", e.GetWhy())
		}
	}
	w.must(w.Kill()) // P5
	w.start()
	w.reaches("polite", "stopped", soon)
	w.only()
	_, err = w.StartOf(w.ctx, "polite")
	w.must(err)
	w.healthy("polite", vm.GetRevision())
}

func TestStubbornGuestIsKilledAfterItsTimeout(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("stubborn", "blixard.fault=stubborn")
	spec.Stop = &v1.Stop{Method: "agent", Timeout: seconds(2)}
	w.up(spec)
	began := time.Now()
	_, err := w.StopOf(w.ctx, "stubborn", false)
	w.must(err)
	vm := w.reaches("stubborn", "stopped", soon)
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("killed after %v, before its timeout", took)
	}
	if exit := vm.GetLastExit(); exit.GetCause() != "killed-by-us" || exit.GetCharged() {
		t.Errorf("want our own kill named and not charged, got %v", exit)
	}
	w.only()
}

func TestStopWhileStartingNeverReachesRunning(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("hasty", "blixard.fault=dead-agent")
	spec.Stop = &v1.Stop{Timeout: seconds(2)}
	_, err := w.Create(w.ctx, spec, true)
	w.must(err)
	w.reaches("hasty", "starting", soon)
	_, err = w.StopOf(w.ctx, "hasty", false)
	w.must(err)
	w.reaches("hasty", "stopped", soon)
	w.only()
	for _, e := range w.events("hasty") {
		if e.GetTo() == "running" {
			t.Errorf("it reached running: %v", e)
		}
	}
}

// events returns the journal of one VM so far.
func (w *world) events(name string) []*v1.Event {
	w.t.Helper()
	var out []*v1.Event
	w.must(w.Watch(w.ctx, 0, false, func(e *v1.Event) bool {
		if e.GetVm() == name {
			out = append(out, e)
		}
		return true
	}))
	return out
}

// consoleBound is more than any VM's logs may take, whatever its guest writes.
const consoleBound = 64 << 20

func TestConsoleFloodIsBounded(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	_, err := w.Create(w.ctx, node.Builtin("loud", "blixard.fault=flood-console"), true)
	w.must(err)
	calm := w.up(w.pvh("calm"))
	ctx, cancel := context.WithTimeout(w.ctx, boot)
	defer cancel()
	stream, err := w.Logs(ctx, connect.NewRequest(&v1.LogsRequest{Name: "loud", Follow: true}))
	w.must(err)
	var seen int
	for seen < 3<<20 && stream.Receive() {
		seen += len(stream.Msg().GetData())
	}
	if seen < 1<<20 {
		t.Fatalf("only %d bytes of the flood came through: %v", seen, stream.Err())
	}
	w.must(stream.Close())
	if size := folderSize(filepath.Join(w.State, "vms", "loud")); size > consoleBound {
		t.Errorf("the flood takes %d bytes on disk, more than %d", size, consoleBound)
	}
	if rss := node.Resident(w.PID()); rss > 200<<20 {
		t.Errorf("the daemon has %d MiB resident", rss>>20)
	}
	still, err := w.Get(w.ctx, "calm")
	w.must(err)
	if still.GetPid() != calm.GetPid() {
		t.Errorf("the neighbour was touched: %v", still)
	}
}

func folderSize(root string) (sum int64) {
	_ = filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // removed while we looked
		}
		if one, err := entry.Info(); err == nil && one.Mode().IsRegular() {
			sum += one.Size()
		}
		return nil
	})
	return sum
}

func TestAgentFloodIsBounded(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.endsBy("chatty", "blixard.fault=flood-agent@3s")
	if rss := node.Resident(w.PID()); rss > 200<<20 {
		t.Errorf("the daemon has %d MiB resident", rss>>20)
	}
	w.up(w.pvh("calm"))
}

func TestEscapesOfAGuestReachNoTerminal(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	w.endsBy("sly", "blixard.fault=escapes,panic@4s blixard.beat=1s")
	w.reaches("sly", "backoff", soon)
	for _, args := range [][]string{
		{"vm", "show", "sly"},
		{"vm", "explain", "sly"},
		{"vm", "crashes", "sly"},
		{"vm", "crashes", "sly", "1"},
		{"vm", "logs", "sly"},
		{"vm", "list", "-o", "wide"},
		{"vm", "show", "sly", "-o", "json"},
		{"vm", "show", "sly", "-o", "yaml"},
		{"events"},
	} {
		if r := w.ctl(0, args...); strings.ContainsAny(r.Stdout+r.Stderr, "\x1b\x07\u009b") {
			t.Errorf("blixard %v lets a control byte through: %.300q", args, r.Stdout)
		}
	}
	if r := w.ctl(0, "vm", "logs", "sly", "--raw"); !strings.Contains(r.Stdout, "\x1b") {
		t.Errorf("logs --raw: want what the guest wrote, got %.300q", r.Stdout)
	}
}
