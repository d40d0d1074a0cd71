package chaos

import (
	"context"
	"sync/atomic"
	"testing"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// The daemon is a service of a real systemd. Whatever is done to it, or to what
// it stands on, the VMs run on, and are supervised afterwards (P4, P6).
func TestVMsOutliveWhatIsDoneToTheirDaemon(t *testing.T) {
	t.Parallel()
	underLaunchers(t, func(t *testing.T, o node.Options) { outlive(settle(t, o)) })
}

func outlive(s *site) {
	vms := s.crew("vm", 3)
	stranger := s.stranger()
	for _, one := range []struct {
		what string
		do   func(s *site)
	}{
		{"systemctl restart", func(s *site) { s.must(s.Restart(s.ctx)) }},
		{"systemctl kill", func(s *site) { s.must(s.Kill(s.ctx)) }},
		{"systemctl stop and start", func(s *site) {
			s.systemctl("stop", "blixard.service")
			s.only(pids(vms)...)
			s.systemctl("start", "blixard.service")
			s.must(s.Ready(s.ctx))
		}},
		{"binary replaced", (*site).replaceBinary},
		{"D-Bus restarted", func(s *site) { s.systemctl("restart", "dbus.service") }},
		{"D-Bus away and back", func(s *site) {
			s.systemctl("stop", "dbus.socket", "dbus.service")
			s.undisturbed("without a bus", vms...)
			s.systemctl("start", "dbus.socket", "dbus.service")
		}},
		{"a crash without a bus", func(s *site) {
			s.systemctl("stop", "dbus.socket", "dbus.service")
			was := vms[1]
			s.strike(was)
			s.undisturbed("without a bus", vms[2])
			s.systemctl("start", "dbus.socket", "dbus.service")
			vms[1] = s.next(was)
		}},
		{"systemd re-executed", func(s *site) { s.systemctl("daemon-reexec") }},
		{"units read anew", func(s *site) { s.systemctl("daemon-reload") }},
	} {
		s.step(one.what, func(s *site) {
			one.do(s)
			s.undisturbed(one.what, vms...)
			vms[0] = s.heals("vm-0")
			s.undisturbed("a neighbour's crash", vms[1:]...)
			s.only(pids(vms)...)
		})
	}
	s.step("what is foreign", func(s *site) { stranger.untouched(s) })
}

// systemd holds the door: nobody who calls while the daemon is away is refused.
func TestRestartOfTheDaemonRefusesNobody(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	s.crew("vm", 2)
	stop, told := make(chan struct{}), make(chan error, 4)
	var calls atomic.Int64
	for range cap(told) {
		go func() {
			for {
				select {
				case <-stop:
					told <- nil
					return
				default:
				}
				if err := s.call(); err != nil {
					told <- err
					return
				}
				calls.Add(1)
			}
		}()
	}
	for range 3 {
		s.must(s.Restart(s.ctx))
	}
	close(stop)
	for range cap(told) {
		if err := <-told; err != nil {
			t.Errorf("a caller was refused: %v", err)
		}
	}
	t.Logf("%d calls over three restarts", calls.Load())
}

// call asks for the list by a connection of its own.
func (s *site) call() error {
	one := s.Caller()
	defer one.HangUp()
	ctx, cancel := context.WithTimeout(s.ctx, soon)
	defer cancel()
	_, err := one.List(ctx)
	return err
}

// systemctl runs it inside.
func (s *site) systemctl(args ...string) {
	s.t.Helper()
	_, err := s.Run(s.ctx, append([]string{"systemctl"}, args...)...)
	s.must(err)
}

// replaceBinary puts another file in the daemon's place, as an upgrade does.
func (s *site) replaceBinary() {
	s.t.Helper()
	_, err := s.Run(s.ctx, "sh", "-c", "cd /usr/local/bin && cp blixard blixard.new && mv blixard.new blixard")
	s.must(err)
	s.must(s.Restart(s.ctx))
}

func pids(vms []*v1.VM) []int32 {
	var out []int32
	for _, vm := range vms {
		out = append(out, vm.GetPid())
	}
	return out
}

// stranger is a QEMU and a tap that somebody else made, alike to ours as far as
// names go.
type stranger struct {
	pid string
	tap string
}

func (s *site) stranger() stranger {
	s.t.Helper()
	const tap = "blx77n0"
	_, err := s.Run(s.ctx, "ip", "tuntap", "add", "dev", tap, "mode", "tap")
	s.must(err)
	_, err = s.Run(s.ctx, "ip", "link", "set", "dev", tap, "alias", "blixard of somebody else")
	s.must(err)
	s.foreign = append(s.foreign, tap)
	_, err = s.Run(s.ctx, "systemd-run", "--unit=stranger", "--setenv=BLIXARD_VM=vm-0", "--", "qemu-system-x86_64", "-name", "blixard-vm-0",
		"-M", "microvm", "-nodefaults", "-display", "none", "-S")
	s.must(err)
	return stranger{pid: s.mainPID("stranger.service"), tap: tap}
}

func (s *site) mainPID(unit string) string {
	s.t.Helper()
	out, err := s.Run(s.ctx, "systemctl", "show", "-P", "MainPID", unit)
	s.must(err)
	return out
}

func (o stranger) untouched(s *site) {
	s.t.Helper()
	if now := s.mainPID("stranger.service"); now != o.pid {
		s.t.Errorf("a foreign QEMU was pid %s and is %s", o.pid, now)
	}
	if _, err := s.Run(s.ctx, "ip", "link", "show", "dev", o.tap); err != nil {
		s.t.Errorf("a foreign tap: %v", err)
	}
}
