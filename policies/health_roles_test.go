package policies_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func role(name string, r vm.Role) vm.Check {
	c := check(vm.CheckTCP, 3, 1)
	c.Name, c.Role = name, r
	return c
}

// TestRoles: + passes and - fails three times; 0 is asked nothing.
func TestRoles(t *testing.T) {
	for _, tt := range []struct {
		name                         string
		startup, liveness, readiness string
		want                         vm.Health
		why                          string
		ready, condemn               bool
	}{
		{"nothing yet", "0", "0", "0", vm.HealthStarting, "up: no answer yet", false, false},
		{"the startup check fails as long as the start may", "-", "0", "0", vm.HealthStarting, "up: no answer yet: refused", false, false},
		{"the others begin", "+", "0", "0", vm.HealthStarting, "alive: no answer yet", false, false},
		{"it has answered, and doesn't serve yet", "+", "+", "0", vm.HealthStarting, "serves: no answer yet", true, false},
		{"it serves", "+", "+", "+", vm.Healthy, "up: answers", true, false},
		{"it never served", "+", "+", "-", vm.Degraded, "serves: 3 of 3 failures in a row: refused", true, false},
		{"it serves no more", "+", "+", "+-", vm.Degraded, "serves: 3 of 3 failures in a row: refused", true, false},
		{"it doesn't live", "+", "+-", "+", vm.Unhealthy, "alive: 3 of 3 failures in a row: refused", false, true},
		{"the critical one decides", "+", "+-", "+-", vm.Unhealthy, "alive: 3 of 3 failures in a row: refused", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var all []policies.Probe
			for _, one := range []struct {
				c    vm.Check
				took string
			}{{role("up", vm.RoleStartup), tt.startup}, {role("alive", vm.RoleLiveness), tt.liveness}, {role("serves", vm.RoleReadiness), tt.readiness}} {
				p := policies.NewProbe(one.c, begin)
				for _, r := range one.took {
					for range map[rune]int{'+': 1, '-': 3}[r] {
						p = p.Took(r == '+', begin.Add(time.Minute), map[rune]string{'-': "refused"}[r])
					}
				}
				all = append(all, p)
			}
			want := policies.Judgement{Health: tt.want, Why: tt.why, Ready: tt.ready, Condemn: tt.condemn}
			if got := policies.Judge(all); got != want {
				t.Errorf("\ngot  %+v\nwant %+v", got, want)
			}
		})
	}
}

// What holds a start is named by who was asked and failed, not by who is first.
func TestAStartIsHeldByWhoWasAskedAndFailed(t *testing.T) {
	serves, alive, later := role("serves", vm.RoleReadiness), role("alive", vm.RoleLiveness), role("later", vm.RoleLiveness)
	later.StartPeriod = time.Minute
	beat := vm.Check{Name: "beat", Type: vm.CheckConsole, Healthy: "beat"}
	for _, tt := range []struct {
		name   string
		failed []string
		asked  bool
		checks []vm.Check
		want   string
	}{
		{"a readiness check is not asked yet", nil, false, []vm.Check{serves, alive}, "alive: no answer yet"},
		{"and the other one failed", []string{"alive"}, false, []vm.Check{serves, alive}, "alive: no answer yet: refused"},
		{"a start period is not over", nil, false, []vm.Check{later, alive}, "alive: no answer yet"},
		{"nobody else is there", nil, false, []vm.Check{serves, later}, "later: not asked yet"},
		{"it is over", nil, true, []vm.Check{serves, later}, "later: no answer yet"},
		{"a console is silent, another one failed", []string{"alive"}, false, []vm.Check{beat, later, alive}, "alive: no answer yet: refused"},
		{"the first of two that failed", []string{"alive", "later"}, true, []vm.Check{beat, later, alive}, "later: no answer yet: refused"},
		{"a startup check holds both off", []string{"up"}, false, []vm.Check{serves, alive, role("up", vm.RoleStartup)}, "up: no answer yet: refused"},
	} {
		var all []policies.Probe
		for _, c := range tt.checks {
			p := policies.NewProbe(c, begin)
			if tt.asked {
				p = p.Asked()
			}
			if slices.Contains(tt.failed, c.Name) {
				p = p.Took(false, begin.Add(time.Second), "refused")
			}
			all = append(all, p)
		}
		if got := policies.Judge(all); got.Health != vm.HealthStarting || got.Why != tt.want {
			t.Errorf("%s: %s, %q, want %q", tt.name, got.Health, got.Why, tt.want)
		}
	}
}

func TestAStartupCheckHoldsTheOthersOff(t *testing.T) {
	up, alive := policies.NewProbe(role("up", vm.RoleStartup), begin), policies.NewProbe(role("alive", ""), begin)
	all := []policies.Probe{alive, up}
	if policies.HeldOff(up.Check, all) || !policies.HeldOff(alive.Check, all) {
		t.Error("before it has passed, it is asked and the other one is not")
	}
	all[1] = up.Took(true, begin, "")
	if policies.HeldOff(alive.Check, all) || !all[1].Over() || alive.Over() {
		t.Error("once it has passed it is over, and the other one is asked")
	}
}

func TestAnOldVerdictTakesOneMoreFailure(t *testing.T) {
	c := role("alive", vm.RoleLiveness)
	sick := vm.Probed{Check: "alive", Health: vm.Unhealthy, Streak: -3, Since: begin, Why: "3 of 3 failures in a row", At: begin}
	p := policies.KnownProbe(c, sick)
	if policies.Judge([]policies.Probe{p}).Condemn {
		t.Error("it is condemned before it was asked again")
	}
	if !policies.Judge([]policies.Probe{p.Took(false, begin, "")}).Condemn {
		t.Error("its next failure is forgiven")
	}
	console := vm.Check{Type: vm.CheckConsole, Name: "words", Unhealthy: "panic", Failures: 3}
	if !policies.Judge([]policies.Probe{policies.KnownProbe(console, sick)}).Condemn {
		t.Error("what the console said once is forgotten")
	}
}

// An unhealthy check that says something else each time is not written each time.
func TestAStandingFailureIsSeldomWritten(t *testing.T) {
	p, writes := policies.LateProbe(role("serves", vm.RoleReadiness), begin), 0
	for i := range 600 {
		before := p.Probed()
		p = p.Took(false, begin.Add(time.Duration(i)*time.Second), fmt.Sprintf("error %d", i))
		if p.Probed() != before {
			writes++
		}
	}
	if writes > 15 {
		t.Errorf("%d writes in ten minutes", writes)
	}
	for i := range 600 {
		before := p.Probed()
		p = p.Dropped(begin.Add(time.Duration(600+i)*time.Second), fmt.Sprintf("%d %%", i))
		if p.Probed() != before && i > 60 {
			t.Fatalf("dropped round %d is written: %s", i, p.Why)
		}
	}
}

func TestHealthLaws(t *testing.T) {
	roles := []vm.Role{vm.RoleStartup, vm.RoleLiveness, vm.RoleReadiness, ""}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(t, "checks")
		going, stored := make([]policies.Probe, n), make([]policies.Probe, n)
		for i := range going {
			c := role(fmt.Sprint(i), rapid.SampledFrom(roles).Draw(t, "role"))
			c.Failures, c.Successes = rapid.IntRange(1, 4).Draw(t, "failures"), rapid.IntRange(1, 4).Draw(t, "successes")
			going[i] = policies.NewProbe(c, begin)
		}
		copy(stored, going)
		at := begin
		for range rapid.IntRange(1, 60).Draw(t, "rounds") {
			i := rapid.IntRange(0, n-1).Draw(t, "which")
			at = at.Add(time.Duration(rapid.IntRange(1, 100).Draw(t, "later")) * time.Second)
			before := going[i]
			switch what := rapid.SampledFrom([]string{"+", "+", "-", "-", "dropped"}).Draw(t, "result"); what {
			case "dropped":
				going[i], stored[i] = before.Dropped(at, "load"), stored[i].Dropped(at, "load")
				if g := going[i]; g.Health != before.Health || g.Streak != before.Streak || !g.Since.Equal(before.Since) {
					t.Fatalf("a dropped round changed %+v into %+v", before, g)
				}
			default:
				going[i], stored[i] = before.Took(what == "+", at, "x"), stored[i].Took(what == "+", at, "x")
			}
			j := policies.Judge(going)
			critical := slices.ContainsFunc(going, func(p policies.Probe) bool { return p.Check.Critical() && p.Health == vm.Unhealthy })
			if j.Condemn != critical || (j.Health == vm.Unhealthy) != critical {
				t.Fatalf("%+v of %+v", j, going)
			}
			if j.Condemn {
				return // the incarnation is over
			}
			if stored[i].Probed() != going[i].Probed() {
				t.Fatalf("a restarted daemon has %+v, one that went on %+v", stored[i].Probed(), going[i].Probed())
			}
			if p := stored[i].Probed(); !p.At.IsZero() && rapid.Bool().Draw(t, "restart") { // P10
				stored[i] = policies.KnownProbe(stored[i].Check, p)
			}
		}
	})
}
