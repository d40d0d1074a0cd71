package policies_test

import (
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhereACheckBegins(t *testing.T) {
	agent, ready := check(vm.CheckAgent, 3, 1), check(vm.CheckTCP, 3, 1)
	ready.Role = vm.RoleReadiness
	later := begin.Add(time.Hour)
	known := vm.Probed{Check: "guest-agent", Health: vm.Degraded, Streak: -2, Since: begin, Why: "slow", At: begin}
	before := []policies.Probe{{Check: agent, Health: vm.Degraded, Streak: -2, Since: begin, Why: "slow", At: begin}}
	unnamed := before[0]
	unnamed.Check.Role = vm.RoleLiveness // what an older record leaves out
	slower := agent
	slower.Interval = time.Minute
	type of = func() policies.Probe
	for _, tt := range []struct {
		story  string
		probe  of
		health vm.Health
		streak int
		since  time.Time
	}{
		{"a guest that boots", func() policies.Probe { return policies.FirstProbe(agent, vm.State{}, false, later) }, vm.HealthStarting, 0, later},
		{"an adopted one that was counted", func() policies.Probe {
			return policies.FirstProbe(agent, vm.State{Phase: vm.Running, Probes: []vm.Probed{known}}, true, later)
		}, vm.Degraded, -2, begin},
		{"an adopted one that stands still", func() policies.Probe {
			return policies.FirstProbe(agent, vm.State{Phase: vm.Paused, Probes: []vm.Probed{known}}, true, later)
		}, vm.Healthy, 0, later},
		{"of an older daemon, and well", func() policies.Probe {
			return policies.FirstProbe(agent, vm.State{Phase: vm.Running, HealthSince: begin}, true, later)
		}, vm.Healthy, 0, begin},
		{"of an older daemon, which says nothing of readiness", func() policies.Probe {
			return policies.FirstProbe(ready, vm.State{Phase: vm.Running}, true, later)
		}, vm.HealthUnknown, 0, later},
		{"one that the last daemon had not asked yet", func() policies.Probe {
			return policies.FirstProbe(ready, vm.State{Phase: vm.Running, Probes: []vm.Probed{known}}, true, later)
		}, vm.HealthUnknown, 0, later},
		{"it goes on after a pause", func() policies.Probe { return policies.ProbeAgain(agent, before, true, later) }, vm.Healthy, 0, later},
		{"it boots again", func() policies.Probe { return policies.ProbeAgain(agent, before, false, later) }, vm.HealthStarting, 0, later},
		{"it goes on, with another check", func() policies.Probe { return policies.ProbeAgain(slower, before, true, later) }, vm.HealthUnknown, 0, later},
		{"a new spec with the same check", func() policies.Probe { return policies.RespecifiedProbe(agent, before, true, later) }, vm.Degraded, -2, begin},
		{"the same, spelt out", func() policies.Probe {
			return policies.RespecifiedProbe(agent, []policies.Probe{unnamed}, true, later)
		}, vm.Degraded, -2, begin},
		{"a new spec with another", func() policies.Probe { return policies.RespecifiedProbe(slower, before, true, later) }, vm.HealthUnknown, 0, later},
		{"the same before it had answered", func() policies.Probe { return policies.RespecifiedProbe(slower, before, false, later) }, vm.HealthStarting, 0, later},
	} {
		if p := tt.probe(); p.Health != tt.health || p.Streak != tt.streak || !p.Since.Equal(tt.since) {
			t.Errorf("%s: %s, %d in a row, since %s", tt.story, p.Health, p.Streak, p.Since)
		}
	}
}

func TestWhichChecksAreAsked(t *testing.T) {
	of := func(kind vm.CheckType, role vm.Role, h vm.Health) policies.Probe {
		c := check(kind, 3, 1)
		c.Role, c.Healthy = role, map[bool]string{true: "up"}[kind == vm.CheckConsole]
		return policies.Probe{Check: c, Health: h}
	}
	waits, passed := of(vm.CheckAgent, vm.RoleStartup, vm.HealthStarting), of(vm.CheckAgent, vm.RoleStartup, vm.Healthy)
	for _, tt := range []struct {
		story    string
		p        policies.Probe
		beside   policies.Probe
		answered bool
		on       bool
	}{
		{"a startup check", waits, waits, false, true},
		{"one that has passed is over", passed, passed, true, false},
		{"liveness is held off", of(vm.CheckTCP, vm.RoleLiveness, vm.HealthStarting), waits, false, false},
		{"and begins after it", of(vm.CheckTCP, vm.RoleLiveness, vm.HealthStarting), passed, false, true},
		{"a console is heard all the same", of(vm.CheckConsole, vm.RoleLiveness, vm.HealthStarting), waits, false, true},
		{"nobody asks whether a guest serves that boots", of(vm.CheckTCP, vm.RoleReadiness, vm.HealthStarting), passed, false, false},
		{"nor hears nothing", of(vm.CheckConsole, vm.RoleReadiness, vm.HealthStarting), passed, false, true},
		{"readiness of one that has answered", of(vm.CheckTCP, vm.RoleReadiness, vm.HealthUnknown), passed, true, true},
		{"a role that nobody wrote", of(vm.CheckTCP, "", vm.HealthUnknown), passed, false, true},
	} {
		if on := policies.On(tt.p, []policies.Probe{tt.beside, tt.p}, tt.answered); on != tt.on {
			t.Errorf("%s: asked is %v", tt.story, on)
		}
	}
}

func TestWhenTheNextRoundBegins(t *testing.T) {
	c := check(vm.CheckTCP, 3, 1) // each 10 s
	for _, tt := range []struct {
		round    int
		answered bool
		spread   float64
		want     time.Duration
	}{
		{1, true, 0, 5 * time.Second},
		{1, true, 0.5, 7500 * time.Millisecond},
		{2, true, 0.5, 10 * time.Second},
		{100, true, 0.9, 10 * time.Second},
		{1, false, 0.9, time.Second},
		{7, false, 0, time.Second},
	} {
		if got := policies.NextRound(c, tt.round, tt.answered, tt.spread); got != tt.want {
			t.Errorf("after round %d (answered %v, spread %g): %s, want %s", tt.round, tt.answered, tt.spread, got, tt.want)
		}
	}
	c.Interval = 300 * time.Millisecond
	if got := policies.NextRound(c, 2, false, 0); got != c.Interval {
		t.Errorf("one that is asked oftener anyway: %s", got)
	}
}

func TestHowLongARoundLasts(t *testing.T) {
	for kind, waits := range map[vm.CheckType]bool{
		vm.CheckAgent: true, vm.CheckVMM: true, vm.CheckExec: true, vm.CheckGuestProcess: true,
		vm.CheckTCP: false, vm.CheckHTTP: false, vm.CheckProcess: false, vm.CheckConsole: false,
	} {
		c := check(kind, 3, 1)
		if got := policies.RoundTime(c, true, time.Minute); got != c.Timeout {
			t.Errorf("%s of a guest that has answered: %s", kind, got)
		}
		want := map[bool]time.Duration{true: time.Minute, false: c.Timeout}[waits]
		if got := policies.RoundTime(c, false, time.Minute); got != want {
			t.Errorf("%s of a guest that boots: %s, want %s", kind, got, want)
		}
	}
}
