package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// signal sends one to the daemon.
func (w *world) signal(signal unix.Signal) {
	w.t.Helper()
	w.must(unix.Kill(w.PID(), signal)) // our own child, which nobody has reaped
}

// passes waits for that much time of the machine, in which nothing is to happen.
func (w *ward) passes(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.ctx.Done():
		w.t.Fatal(w.ctx.Err())
	}
}

// A daemon that is stopped and goes on has heard of nothing for that long, and
// blames no guest for it (P16); a VMM that died meanwhile, a zombie as nobody
// could reap it, is reaped and comes back.
func TestADaemonThatStoodStillBlamesNobody(t *testing.T) {
	t.Parallel()
	stood := 12 * time.Second
	if allScenarios() {
		stood = time.Minute
	}
	w := begin(t, node.Options{})
	vms := []*v1.VM{
		w.up(watched("calm", "blixard.beat=500ms", &v1.Check{Type: "process"}, beats(3*time.Second))),
		w.up(watched("served", "blixard.service", &v1.Check{Type: "guest-process", Process: "sleep"}, &v1.Check{Type: "exec", Command: []string{"true"}})),
	}
	died := w.up(w.pvh("died"))
	p, err := w.VMM(int(died.GetPid()))
	w.must(err)

	w.signal(unix.SIGSTOP)
	w.must(p.Kill())
	w.eventually("it is a zombie", soon, func() bool { return state(p.PID) == "Z" })
	w.passes(stood)
	w.signal(unix.SIGCONT)

	again := w.next(died)
	if again.GetIncarnation() != died.GetIncarnation()+1 || again.GetCrashes() != 1 {
		t.Errorf("want one restart, got %v", again)
	}
	w.eventually("the zombie is reaped", soon, func() bool { return state(p.PID) != "Z" })
	w.passes(5 * time.Second) // rounds enough for every check to fail, if one of them blamed the guest
	for _, vm := range vms {
		w.healthy(vm.GetName(), 0)
		w.same(vm, "the daemon stood still for "+stood.String())
	}
}

// state is the letter of a process's state, or nothing where it is gone.
func state(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, ok := strings.Cut(string(b), ") ")
	if err != nil || !ok {
		return ""
	}
	return after[:1]
}

// An orphan whose new parent never reaps it stays a zombie: it is dead all the
// same, and nobody waits for the rest of it. It is not parallel to others: while
// it lasts the orphans of every daemon become children of this process.
func TestAZombieThatNobodyReapsIsDead(t *testing.T) {
	w := begin(t, node.Options{})
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Skipf("this process can't take orphans in: %v", err)
	}
	vm := w.up(w.pvh("orphan"))
	w.must(w.Kill())
	w.must(unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0))
	w.start()
	adopted := w.healthy("orphan", 0)
	if adopted.GetPid() != vm.GetPid() {
		t.Fatalf("it was not adopted: %v", adopted)
	}
	p, err := w.VMM(int(vm.GetPid()))
	w.must(err)
	w.must(p.Kill())
	next := w.next(adopted)
	if state(p.PID) != "Z" {
		t.Errorf("the scenario needs a zombie, its state is %q", state(p.PID))
	}
	if next.GetIncarnation() != vm.GetIncarnation()+1 || next.GetCrashes() != 1 {
		t.Errorf("want the next incarnation with one crash on record: %v", next)
	}
	w.only(next.GetPid())
	w.must(w.Kill())
	w.start() // the zombie is nobody's VMM for the next daemon, either
	w.healthy("orphan", 0)
	w.same(next, "beside the zombie of its last incarnation")
	var status unix.WaitStatus
	_, err = unix.Wait4(p.PID, &status, 0, nil)
	w.must(err)
}

// A disk of the host that fails a write halts its guest, which is a death of
// its own name. The disk is a file that QEMU's storage daemon exports with an
// error in it.
func TestAFailingDiskHasItsCause(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	disk := w.failingDisk()
	spec := node.Builtin("writer", "")
	spec.Disks = []*v1.Disk{{Name: "data", Path: disk}}
	vm := w.up(spec)
	w.hurt("writer", "fill", "12", "/dev/vda")
	crash, _ := w.healed(vm, "io-error", "data", "Input/output error")
	if crash.GetConfidence() != "certain" || crash.GetDecision().GetCharged() {
		t.Errorf("want it certain, and no fault of the VM: %s, %v", crash.GetConfidence(), crash.GetDecision())
	}
}

// failingDisk is a file of 16 MiB of which the last eight can't be written.
func (w *world) failingDisk() string {
	w.t.Helper()
	daemon, err := exec.LookPath("qemu-storage-daemon")
	if err != nil {
		w.t.Skip("qemu-storage-daemon is not installed: make setup-test")
	}
	dir, err := os.MkdirTemp("", "bx") // not in the node's own folder: what names that is a VMM
	w.must(err)
	w.t.Cleanup(func() { w.must(os.RemoveAll(dir)) })
	w.must(os.Chmod(dir, 0o755))
	back, disk := filepath.Join(dir, "back.raw"), filepath.Join(dir, "data.raw")
	w.must(os.WriteFile(back, nil, 0o600))
	w.must(os.Truncate(back, 16<<20))
	w.must(os.WriteFile(disk, nil, 0o666))
	var said strings.Builder
	export := exec.Command(daemon, "--blockdev", "driver=file,node-name=back,filename="+back,
		"--blockdev", `{"driver": "blkdebug", "node-name": "bad", "image": "back", "inject-error": [{"event": "none", "iotype": "write", "errno": 5, "sector": 20480}]}`,
		"--export", "type=fuse,id=export,node-name=bad,writable=on,allow-other=on,mountpoint="+disk)
	export.Stdout, export.Stderr = &said, &said
	w.must(export.Start())
	ended := make(chan struct{})
	go func() { _ = export.Wait(); close(ended) }()
	w.t.Cleanup(func() {
		_ = export.Process.Signal(unix.SIGTERM)
		<-ended
	})
	w.eventually("the disk is exported", soon, func() bool {
		select {
		case <-ended:
			w.t.Skipf("no file can be exported with errors in it: %s", said.String())
		default:
		}
		about, err := os.Stat(disk)
		return err == nil && about.Size() == 16<<20
	})
	w.must(os.Chmod(disk, 0o666)) // the VMM has a user of its own
	return disk
}
