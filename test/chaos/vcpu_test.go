package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// vcpuThread is the thread of a VMM's first vCPU, by the name that QEMU gives it.
func (w *world) vcpuThread(pid int32) int {
	w.t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/comm", pid))
	w.must(err)
	for _, path := range names {
		if b, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(b), "CPU 0/") {
			tid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			w.must(err)
			return tid
		}
	}
	w.t.Fatalf("no thread of process %d is a vCPU", pid)
	return 0
}

// hold stops one thread as a debugger does, until it ends: a signal would stop
// its whole process. Who holds a thread is its reaper, too.
func (w *world) hold(tid int) {
	w.t.Helper()
	held := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the kernel knows the tracer by its thread
		err := unix.PtraceSeize(tid)
		if err == nil {
			err = unix.PtraceInterrupt(tid)
		}
		held <- err
		for err == nil || errors.Is(err, unix.EINTR) {
			_, err = unix.Wait4(tid, nil, unix.WALL, nil)
		}
	}()
	switch err := <-held; {
	case errors.Is(err, unix.EPERM):
		w.t.Skipf("this process may not trace a thread: %v", err)
	case err != nil:
		w.t.Fatal(err)
	}
	w.eventually("the thread is held", soon, func() bool { return state(tid) == "t" })
}

// A VMM that answers while its guest's processor can't run is sick all the same.
func TestAVCPUThatIsHeldIsHealed(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	vm := w.up(watched("held", "", &v1.Check{Type: "vmm"}))
	w.hold(w.vcpuThread(vm.GetPid()))
	w.healed(vm, "health-failed", "vmm", "vCPU 0 is stopped by a tracer")
}

// A guest that has nothing to do may use no processor time at all, and nobody
// blames it. What its VMM was launched with, and what its processors did, is in
// the bundle of its death, also where another daemon launched it.
func TestAnIdleGuestIsNotBlamed(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("idle", "")
	spec.Health = []*v1.Check{{Type: "vmm", Interval: seconds(1), Timeout: seconds(1), Failures: 1}}
	vm := w.up(spec)
	w.passes(30 * time.Second)
	w.same(vm, "it was left alone for 30 s")
	w.must(w.Kill())
	w.start()
	w.healthy("idle", 0)
	w.passes(3 * time.Second)
	w.same(vm, "it was adopted")
	p, err := w.VMM(int(vm.GetPid()))
	w.must(err)
	w.strike(vm)
	w.healed(vm, "vmm-crash|unknown|killed-by-operator")
	w.bundled("idle", 1)
	b := crashOf(t, w.exported("idle", "1"))
	if b.Notes == nil || !slices.Equal(b.Notes.Argv, p.Argv) {
		t.Errorf("the bundle tells of %+v, want the command line %q", b.Notes, p.Argv)
		return
	}
	did := regexp.MustCompile(`^1 vCPU, [0-9]+ % busy$`)
	for i, round := range b.Notes.Rounds {
		if i > 0 && round.OK && !did.MatchString(round.Detail) {
			t.Errorf("a round says of its processors %q", round.Detail)
		}
	}
	if len(b.Notes.Rounds) < 2 {
		t.Errorf("rounds: %+v", b.Notes.Rounds)
	}
}

// Whoever meets a guest that hangs wants to know whether it spins or sleeps.
func TestAHangIsToldFromASpin(t *testing.T) {
	t.Parallel()
	for _, one := range quick(1, []struct {
		fault, evidence string
		busy            bool
	}{
		{"hang", "no answer within 1s, its processors", false},
		{"lockup", "no answer within 1s, its processors are busy", true},
	}) {
		t.Run(one.fault, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			vm := w.up(watched("sick", ""))
			w.hurt("sick", "fault", one.fault)
			if one.busy {
				w.judged(vm, boot)
			}
			crash, _ := w.healed(vm, "health-failed", one.evidence)
			t.Log(crash.GetEvidence())
		})
	}
}
