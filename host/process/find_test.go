package process

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

func TestAnAdoptedVMMGetsTheLimitsThatItsDaemonDiedBeforeSetting(t *testing.T) {
	w := newWorld(t)
	c := w.Sh(1, 1, sleeps)
	c.MaxFile = 1 << 20
	born := exec.Command(c.Argv[0], c.Argv[1:]...) // what a launch is, before its limits
	born.Env = proof.Identity{Node: w.config.Node, BootID: w.config.BootID}.Tagged(w.config.Node, c)
	born.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID)}}
	if err := born.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = born.Process.Kill()
		_ = born.Wait()
	}()
	p := vm.Process{PID: born.Process.Pid}
	w.Restart()
	if _, err := w.l.Find(t.Context(), c.Ref, nil); err != nil {
		t.Fatal(err)
	}
	limits, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/limits") // asking the kernel takes more rights than a container may have
	if err != nil || !regexp.MustCompile(`(?m)^Max file size +1048576 +1048576 `).Match(limits) {
		t.Errorf("P15: it may write more than 1 MiB: %v\n%s", err, limits)
	}
}

func TestUnwatchedChildrenAreReaped(t *testing.T) {
	w := newWorld(t)
	p := w.Launch(w.Sh(1, 1, "exit 0"))
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		if _, err := procfs.Default.Stat(p.PID); err != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a child that nobody watches stays a zombie")
		}
	}
}
