package chaos

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// runs is what a built runner of QEMU comes down to: a script that starts it
// with the console on standard output and QMP in its own folder.
const runs = `#!/bin/sh
exec qemu-system-x86_64 -name runner -M microvm,accel=tcg,acpi=off,pit=off,pic=off,rtc=off -m 8M -smp 1 -nodefaults -no-user-config \
  -no-reboot -kernel /opt/blixard/pvh.elf -chardev stdio,id=stdio,signal=off -serial chardev:stdio -nographic \
  -sandbox on -qmp unix:runner.sock,server,nowait
`

// A built runner is a unit like any other: launched, watched, restarted after a
// crash, adopted over a restart of the daemon and a power cut, and stopped.
func TestARunnerIsKeptAliveLikeAnyOtherVM(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	spec := s.PVH("runner") // the kernel is put where the script looks for it
	spec.Boot = &v1.Boot{Runner: "/opt/runner"}
	s.lay("runner/bin/microvm-run", runs)
	_, err := s.Run(s.ctx, "cp", "-r", filepath.Join(s.Root, "runner"), "/opt/runner")
	s.must(err)
	first := s.up(spec)
	s.must(s.Restart(s.ctx))
	now := s.healthy("runner", first.GetRevision())
	if now.GetPid() != first.GetPid() {
		t.Errorf("P6: it was restarted with the daemon: %v", now.GetLastExit())
	}
	_, err = s.Run(s.ctx, "sh", "-c", "rm $(find /var/lib/blixard -name runner.sock -type s)")
	s.must(err)
	s.must(s.Restart(s.ctx))
	if is := s.adopted(first, "the name of its runner's socket"); is.GetHealth() != "healthy" {
		t.Errorf("without the name of its socket it is %s: %s", is.GetHealth(), is.GetHealthWhy())
	}
	now = s.healthy("runner", 0)
	_, err = s.Run(s.ctx, "systemctl", "kill", "-s", "KILL", "blixard-runner.service")
	s.must(err)
	again := s.next(now)
	s.must(s.PowerCut())
	s.must(s.Boot(s.ctx))
	if up := s.next(again); up.GetIncarnation() != again.GetIncarnation()+1 {
		t.Errorf("after the power cut it is incarnation %d, want %d", up.GetIncarnation(), again.GetIncarnation()+1)
	}
	_, err = s.StopOf(s.ctx, "runner", true)
	s.must(err)
	s.reaches("runner", "stopped", soon)
}

// lay writes an executable below the scratch folder.
func (s *site) lay(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.Root, name)
	s.must(os.MkdirAll(filepath.Dir(path), 0o755))
	s.must(os.WriteFile(path, []byte(text), 0o755))
}
