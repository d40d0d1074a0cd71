package chaos

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// debianBoot is for a whole system under TCG beside other scenarios, with
// cloud-init's first work; measured alone: 25 s, and 50 s with that.
const debianBoot = 5 * time.Minute

const (
	debianKey     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB3Qb0Ek9yes: #key \"of\" somebody"
	debianMAC     = "02:00:00:00:77:02"
	debianNetwork = `version: 2
ethernets:
  lan:
    match: {macaddress: "` + debianMAC + `"}
    addresses: [10.77.0.2/24]
`
	// The second file switches cloud-init off: later boots of the scenario are
	// nobody's first, and take half the time.
	debianUser = `#cloud-config
write_files:
- {path: /var/lib/marker, content: seeded}
- {path: /etc/cloud/cloud-init.disabled, content: ""}
`
)

// A guest that nobody here wrote, on a disk that boots itself: it finds its seed,
// is probed by its agent and over its link, and each way in which it can end, or
// hang, is met as what it is.
func TestADebianGuestLivesAndDies(t *testing.T) {
	t.Parallel()
	underLaunchers(t, func(t *testing.T, o node.Options) {
		s := settleDebian(t, o)
		s.step("it boots itself, and finds its seed", func(s *site) { s.bootsWithItsSeed(s.debian("debian")) })
		s.step("its probes", (*site).provesDebian)
		s.step("suspended and resumed", (*site).suspendsDebian)
		s.step("rebooted from inside", (*site).rebootsDebian)
		s.step("a service ends while its kernel lives", (*site).endsItsService)
		if allScenarios() {
			s.step("a hang", (*site).hangsDebian)
		}
		s.step("panic", (*site).panicsDebian)
		s.step("stopped gracefully", (*site).stopsDebian)
	})
}

// The essence of it where no systemd has a part in the launch, for a guest whose
// agent is off when it is to stop: then there is only its power button.
func TestADebianGuestWithoutAnAgentIsStoppedByItsButton(t *testing.T) {
	t.Parallel()
	if !allScenarios() {
		t.Skip("another boot of a whole system is for make chaos alone")
	}
	s := settleDebian(t, node.Options{Launcher: "process"})
	spec := s.debian("debian")
	spec.Health[0].Failures = 100 // its silence is not what is looked at
	s.step("it boots itself, and finds its seed", func(s *site) { s.bootsWithItsSeed(spec) })
	s.step("its probes", (*site).provesDebian)
	s.step("its agent is off", func(s *site) {
		s.hurt("debian", "systemctl", "stop", "qemu-guest-agent") // which ends who would answer
		s.eventually("nobody answers any more", time.Minute, func() bool { return s.probed("guest-agent").GetStreak() < 0 })
	})
	s.step("stopped by its button", (*site).stopsDebian)
}

// settleDebian is a machine with a bridge for the guest.
func settleDebian(t *testing.T, o node.Options) *site {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed: make setup-test")
	}
	s := settle(t, o)
	s.ip("link", "add", "br0", "type", "bridge")
	s.ip("addr", "add", "10.77.0.1/24", "dev", "br0")
	s.ip("link", "set", "dev", "br0", "up")
	s.foreign = append(s.foreign, "br0")
	return s
}

// debian is a VM of the Debian guest with everything that it can be asked.
func (s *site) debian(name string) *v1.VMSpec {
	s.t.Helper()
	spec, err := s.Debian(s.ctx, name)
	if errors.Is(err, node.ErrNoDebian) {
		s.t.Skip(err)
	}
	s.must(err)
	often, inside := durationpb.New(4*time.Second), durationpb.New(10*time.Second)
	spec.Health = append(spec.Health,
		&v1.Check{Type: "http", Url: "http://10.77.0.2/", Body: "a real guest", Interval: often, Timeout: often, Failures: 2},
		&v1.Check{Type: "tcp", Role: "readiness", Address: "10.77.0.2:80", Interval: often, Timeout: often},
		&v1.Check{Type: "exec", Role: "readiness", Command: []string{"test", "-e", "/run/nginx.pid"}, Interval: inside, Timeout: inside},
		&v1.Check{Type: "guest-process", Role: "readiness", Process: "nginx", AtLeast: 2, Interval: inside, Timeout: inside},
	)
	spec.Remedies = []*v1.Rung{{Do: "reset", Times: 1, For: []string{"health-failed"}}}
	spec.Networks = []*v1.Network{{Mode: "bridge", Bridge: "br0", Mac: debianMAC}}
	spec.Seed = &v1.Seed{Hostname: "somebody", SshKeys: []string{debianKey}, UserData: debianUser, Network: debianNetwork}
	return spec
}

// wellAgain waits for the first event of that kind and cause, then for a guest
// that is up and well after it, and on another boot than before.
func (s *site) wellAgain(before, kind, cause string) *v1.VM {
	s.t.Helper()
	began := time.Now()
	e := s.event(kind+" "+cause, debianBoot, func(e *v1.Event) bool {
		return e.GetVm() == "debian" && e.GetKind() == kind && e.GetCause() == cause
	})
	s.t.Logf("%s after %v", kind, time.Since(began).Round(100*time.Millisecond))
	vm, err := s.node.Wait(s.ctx, "debian", node.Goal{Phase: "running", Health: "healthy", After: e.GetRevision(), Within: debianBoot})
	s.must(err)
	s.t.Logf("well again after %v", time.Since(began).Round(100*time.Millisecond))
	if s.life("debian") == before {
		s.t.Error("it is the boot of before")
	}
	return vm
}

func (s *site) bootsWithItsSeed(spec *v1.VMSpec) {
	began := time.Now()
	_, err := s.Create(s.ctx, spec, true)
	s.must(err)
	_, err = s.node.Wait(s.ctx, "debian", node.Goal{Phase: "running", Health: "healthy", Within: debianBoot})
	s.must(err)
	s.t.Logf("up and well after %v", time.Since(began).Round(100*time.Millisecond))
	// The web server waits for the network, and that for this work of cloud-init.
	for _, one := range []struct{ what, want string }{
		{"hostname", "somebody"},
		{"cat /var/lib/marker", "seeded"},
		{"cat /home/debian/.ssh/authorized_keys", debianKey},
		{"findmnt -no FSTYPE /", "ext4"},
		{"systemctl is-active nginx", "active"},
	} {
		if is := s.inside("debian", strings.Fields(one.what)...); is != one.want {
			s.t.Errorf("%s: want %q, got %q", one.what, one.want, is)
		}
	}
	if out, err := s.CLI(s.ctx, "vm", "exec", "debian", "--", "cat", "/etc/debian_version"); err != nil || !strings.HasPrefix(out, "12") {
		s.t.Errorf("vm exec: %q, %v", out, err)
	}
}

func (s *site) provesDebian() {
	for _, name := range []string{"guest-agent", "http", "tcp", "exec", "guest-process"} {
		s.eventually("the check "+name+" to pass", time.Minute, func() bool { return s.probed(name).GetHealth() == "healthy" })
	}
}

// probed is where one check of the guest stands.
func (s *site) probed(name string) *v1.Probe {
	s.t.Helper()
	vm, err := s.Get(s.ctx, "debian")
	s.must(err)
	at := slices.IndexFunc(vm.GetProbes(), func(p *v1.Probe) bool { return p.GetName() == name })
	if at < 0 {
		s.t.Fatalf("no check %s: %v", name, vm.GetProbes())
	}
	return vm.GetProbes()[at]
}

func (s *site) suspendsDebian() {
	was := s.life("debian")
	began := time.Now()
	s.suspend("debian")
	s.resume("debian")
	s.t.Logf("suspended and resumed in %v", time.Since(began).Round(100*time.Millisecond))
	if is := s.life("debian"); is != was {
		s.t.Errorf("it booted: %s became %s", was, is)
	}
}

func (s *site) rebootsDebian() {
	was := s.life("debian")
	before := s.healthy("debian", 0)
	s.inside("debian", "sh", "-c", "(sleep 2; systemctl reboot) >/dev/null 2>&1 &") // else it may go before it has answered
	is := s.wellAgain(was, "GuestReset", "")
	if is.GetPid() != before.GetPid() || is.GetIncarnation() != before.GetIncarnation() || is.GetCrashes() != 0 {
		s.t.Errorf("a reboot from inside is no crash: was pid %d, incarnation %d; is pid %d, incarnation %d, %d crashes",
			before.GetPid(), before.GetIncarnation(), is.GetPid(), is.GetIncarnation(), is.GetCrashes())
	}
}

// endsItsService leaves a guest whose kernel and agent answer, and that is of no use.
func (s *site) endsItsService() {
	was := s.life("debian")
	before := s.healthy("debian", 0)
	s.inside("debian", "systemctl", "stop", "nginx")
	is := s.wellAgain(was, "GuestToReset", "health-failed")
	crash := s.lastCrash()
	if crash.GetCause() != "health-failed" || !strings.Contains(crash.GetEvidence(), "http") {
		s.t.Errorf("want health-failed by the http check, got %s: %s", crash.GetCause(), crash.GetEvidence())
	}
	if is.GetPid() != before.GetPid() || is.GetIncarnation() != before.GetIncarnation() {
		s.t.Errorf("want it reset in place, got another VMM: %v", crash.GetDecision())
	}
}

// hangsDebian stops the agent as a whole system would be: the reset of its ladder
// is used up by now.
func (s *site) hangsDebian() {
	was := s.life("debian")
	before := s.healthy("debian", 0)
	_, _ = s.Inside(s.ctx, "debian", "pkill", "-STOP", "-x", "qemu-ga") // nobody is left to answer
	is := s.wellAgain(was, "GuestSick", "health-failed")
	if is.GetIncarnation() != before.GetIncarnation()+1 || !strings.Contains(s.lastCrash().GetEvidence(), "guest-agent") {
		s.t.Errorf("want it killed for its agent's silence, and started: incarnation %d, %s", is.GetIncarnation(), s.lastCrash().GetEvidence())
	}
}

func (s *site) lastCrash() *v1.Crash {
	s.t.Helper()
	crashes, err := s.Crashes(s.ctx, "debian")
	s.must(err)
	if len(crashes) == 0 {
		s.t.Fatal("no crash is on record")
	}
	return slices.MaxFunc(crashes, func(a, b *v1.Crash) int { return int(a.GetNumber()) - int(b.GetNumber()) })
}

func (s *site) panicsDebian() {
	was := s.life("debian")
	before := s.healthy("debian", 0)
	_, _ = s.Inside(s.ctx, "debian", "sh", "-c", "echo c >/proc/sysrq-trigger") // nobody is left to answer
	is := s.wellAgain(was, "GuestSick", "guest-panic")
	crash := s.lastCrash()
	if crash.GetCause() != "guest-panic" || crash.GetConfidence() != "certain" {
		s.t.Errorf("want a panic for certain, got %s, %s: %s", crash.GetCause(), crash.GetConfidence(), crash.GetEvidence())
	}
	if out, err := s.CLI(s.ctx, "vm", "logs", "debian"); err != nil || is.GetIncarnation() != before.GetIncarnation()+1 {
		s.t.Errorf("want the next incarnation, got %d (%v, %.100q)", is.GetIncarnation(), err, out)
	}
	log, err := s.Run(s.ctx, "sh", "-c", "cat /var/lib/blixard/vms/debian/console-*.log")
	s.must(err)
	if !strings.Contains(log, "Kernel panic - not syncing: sysrq triggered crash") {
		s.t.Errorf("the console does not tell of the panic: %.400q", log[max(0, len(log)-400):])
	}
}

func (s *site) stopsDebian() {
	began := time.Now()
	_, err := s.StopOf(s.ctx, "debian", false)
	s.must(err)
	vm := s.reaches("debian", "stopped", debianBoot)
	s.t.Logf("stopped after %v", time.Since(began).Round(100*time.Millisecond))
	s.only()
	if exit := vm.GetLastExit(); exit.GetCause() != "guest-poweroff" && exit.GetCause() != "killed-by-us" || exit.GetCharged() {
		s.t.Errorf("want an end that was asked for, got %v", exit)
	}
	s.must(s.Watch(s.ctx, 0, false, func(e *v1.Event) bool {
		if e.GetVm() == "debian" && e.GetIncarnation() == vm.GetIncarnation() && e.GetTo() == "killing" {
			s.t.Errorf("a guest that hears was killed: %s", e.GetWhy())
		}
		return true
	}))
}
