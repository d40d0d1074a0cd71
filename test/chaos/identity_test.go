package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/blixard/blixard/test/node"
)

// A pid says nothing about who has it: P8. Nobody is signalled who isn't proved
// ours, and a VM whose pid lives on as somebody else is down.
func TestReusedPidIsNobodysVMM(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	was := s.crew("vm", 1)[0]
	s.systemctl("stop", "blixard.service")
	s.strike(was)
	other := s.takePID(int(was.GetPid()))
	s.systemctl("start", "blixard.service")
	s.must(s.Ready(s.ctx))
	is := s.next(was)
	if is.GetPid() == was.GetPid() || is.GetIncarnation() != was.GetIncarnation()+1 {
		s.t.Errorf("want another incarnation in another process, got %v", is)
	}
	_, err := s.StopOf(s.ctx, "vm-0", true)
	s.must(err)
	s.reaches("vm-0", "stopped", soon)
	s.must(other())
}

// takePID starts a process of that pid inside, and returns what fails unless it still runs.
func (s *site) takePID(pid int) (lives func() error) {
	s.t.Helper()
	for range 20 { // until no other process comes between
		out, err := s.Shell(s.ctx, fmt.Sprintf("echo %d > /proc/sys/kernel/ns_last_pid && { sleep 1000 >&- 2>&- & echo $!; }", pid-1))
		if err != nil {
			s.t.Skipf("this kernel doesn't let a test choose a pid: %v", err)
		}
		if got, err := strconv.Atoi(strings.TrimSpace(out)); err == nil && got == pid {
			return func() error { _, err := s.Run(s.ctx, "kill", "-0", strconv.Itoa(pid)); return err }
		}
	}
	s.t.Fatalf("pid %d can't be had", pid)
	return nil
}

// A VM's folder is deleted under it: it runs on, its neighbours don't notice,
// and when it ends it comes back, or is given up aloud (P4, P13).
func TestFolderOfAVMIsDeletedUnderIt(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	vms := s.crew("vm", 3)
	s.must(os.RemoveAll(filepath.Join(s.State, "vms", "vm-0")))
	s.undisturbed("the folder deleted", vms...)
	s.must(s.Kill(s.ctx))
	s.undisturbed("the daemon killed after that", vms...)
	vms[0] = s.heals("vm-0")
	s.undisturbed("its restart", vms[1:]...)
	s.only(pids(vms)...)
}
