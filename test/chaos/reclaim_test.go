package chaos

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// watchful looks each second, and takes memory back without a long wait between.
var watchful = node.Options{Config: strings.Replace(node.Roomy, "resources: {", "resources: {sample: 1s, ", 1) +
	"reclaim: {between: 2s}\n"}

// lax is a measure of idleness that a guest under TCG meets with its probes, and
// one that burns a processor doesn't, however busy the machine is.
var lax = &v1.Idle{Cpu: 15, Packets: 1000, IoBytes: 1 << 20}

// resident is what a VMM holds of the host's memory.
func (w *ward) resident(vm *v1.VM) int64 {
	w.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", vm.GetPid()))
	w.must(err)
	var kib int64
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	w.t.Fatalf("no resident memory is told of pid %d", vm.GetPid())
	return 0
}

// A guest that idles gives its memory to the host, and has it again when it works.
func TestAnIdleGuestGivesMemoryBackAndGetsItAgain(t *testing.T) {
	t.Parallel()
	w := begin(t, watchful)
	const memory, keep = 256 << 20, 20
	spec := node.Builtin("idler", "")
	spec.MemoryBytes = memory
	spec.Disks = []*v1.Disk{{Name: "data", SizeBytes: 128 << 20}}
	spec.Reclaim = &v1.Reclaim{Keep: keep, Idle: lax, Steps: []*v1.ReclaimStep{{Do: "balloon", After: durationpb.New(8 * time.Second)}}}
	vm := w.up(spec)
	w.inside("idler", "fill", "110", "/dev/vda") // the page cache has touched memory that it can do without
	before := w.resident(vm)
	told := w.event("its memory is taken back", boot, func(e *v1.Event) bool { return e.GetVm() == "idler" && e.GetKind() == "Reclaimed" })
	if told.GetBy() != "reclaim" || !strings.HasPrefix(told.GetWhy(), "balloon: idle for ") {
		t.Errorf("the event is %v", told)
	}
	after, has := w.resident(vm), w.available("idler")
	if before-after < 60<<20 {
		t.Errorf("resident were %d MiB, and still are %d MiB", before>>20, after>>20)
	}
	w.eventually("the balloon to be shown", soon, func() bool {
		seen, err := w.Get(w.ctx, "idler")
		return err == nil && seen.GetUsage().GetBalloonBytes() > 0 && seen.GetUsage().GetBalloonBytes() < memory*2/3
	})

	w.must(w.Kill()) // the next daemon finds the balloon, and gives it back
	w.start()
	burnt := make(chan node.Result, 1)
	go func() {
		r, _ := w.CLI(w.ctx, "vm", "exec", "idler", "--timeout", "1m", "--", "burn", "10")
		burnt <- r
	}()
	w.event("its memory is given again", boot, func(e *v1.Event) bool { return e.GetVm() == "idler" && e.GetKind() == "GivenBack" })
	if r := <-burnt; r.Code != 0 {
		t.Errorf("burn: %v", r)
	}
	again := w.available("idler")
	if again-has < 80<<20 {
		t.Errorf("available to the guest were %d MiB, and now %d MiB", has>>20, again>>20)
	}
	t.Logf("resident %d MiB, then %d MiB; available to the guest %d MiB, then %d MiB again", before>>20, after>>20, has>>20, again>>20)
	w.noCrash("idler")
	w.only(vm.GetPid())
}

// available is the memory that a guest can still use.
func (w *ward) available(name string) int64 {
	w.t.Helper()
	var kib int64
	for line := range strings.Lines(w.inside(name, "cat", "/proc/meminfo")) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	w.t.Fatalf("%s doesn't say what memory is available", name)
	return 0
}

// An idle guest is suspended by itself, stays so until somebody resumes it, and
// goes on where it was; a busy one, and one whose spec asks for nothing, aren't.
func TestAnIdleGuestIsSuspendedByItself(t *testing.T) {
	t.Parallel()
	w := begin(t, watchful)
	reclaim := &v1.Reclaim{Idle: lax, Steps: []*v1.ReclaimStep{{Do: "suspend", After: durationpb.New(8 * time.Second)}}}
	calm, busy := node.Builtin("calm", ""), node.Builtin("busy", "")
	calm.Reclaim, busy.Reclaim = reclaim, reclaim
	works := w.up(busy)
	burnt := make(chan node.Result, 1)
	go func() {
		r, _ := w.CLI(w.ctx, "vm", "exec", "busy", "--timeout", "4m", "--", "burn", "200")
		burnt <- r
	}()
	w.up(calm)
	was := w.life("calm")
	down := w.reaches("calm", "suspended", boot)
	if down.GetIntent() != "suspended" || down.GetPid() != 0 || !strings.Contains(down.GetReason(), "by the node itself: idle for ") {
		t.Errorf("want it suspended by the node itself: %v", down)
	}
	w.must(w.Kill())
	w.start()
	w.reaches("calm", "suspended", soon)
	if now := w.reaches("busy", "running", soon); now.GetPid() != works.GetPid() {
		t.Errorf("the busy one: %v", now)
	}
	w.resume("calm")
	if is := w.life("calm"); is != was {
		t.Errorf("the guest booted: %s became %s", was, is)
	}
	w.noCrash("calm")
	w.noCrash("busy")
	_, err := w.StopOf(w.ctx, "busy", true)
	w.must(err)
	<-burnt
}
