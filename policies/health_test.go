package policies_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func check(kind vm.CheckType, failures, successes int) vm.Check {
	return vm.Check{Type: kind, Interval: 10 * time.Second, Timeout: time.Second, Failures: failures, Successes: successes}
}

// TestProbeStories: + passes, - fails, ! leaves no doubt; the health after each.
func TestProbeStories(t *testing.T) {
	tests := []struct {
		name                string
		failures, successes int
		took, want, why     string
	}{
		{"starting until the first success", 3, 1, "-----+", "sssssh", "answers"},
		{"the first success is enough, whatever the threshold", 3, 3, "-+", "sh", "answers"},
		{"three in a row", 3, 1, "+---", "hddu", "3 of 3 failures in a row: no answer in 1s"},
		{"never three in a row", 3, 1, "+--+--+--", "hddhddhdd", "2 of 3 failures in a row: no answer in 1s"},
		{"one is enough", 1, 1, "+-", "hu", "1 of 1 failures in a row: no answer in 1s"},
		{"coming back takes two", 3, 2, "+---++", "hdduuh", "answers"},
		{"a relapse on the way back", 2, 2, "+--+-", "hduuu", "1 of 2 failures in a row: no answer in 1s"},
		{"no doubt", 3, 1, "+!", "hu", "Kernel panic"},
		{"no doubt while starting", 3, 1, "!", "u", "Kernel panic"},
		{"unfilled thresholds", 0, 0, "+-", "hu", "1 of 1 failures in a row: no answer in 1s"},
	}
	letters := map[vm.Health]string{vm.HealthStarting: "s", vm.Healthy: "h", vm.Degraded: "d", vm.Unhealthy: "u"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := policies.NewProbe(check(vm.CheckAgent, tt.failures, tt.successes), begin)
			got, since := "", begin
			for i, r := range tt.took {
				at, before := begin.Add(time.Duration(i+1)*time.Second), p.Health
				switch r {
				case '+':
					p = p.Took(true, at, "")
				case '-':
					p = p.Took(false, at, "no answer in 1s")
				case '!':
					p = p.Condemned(at, "Kernel panic")
				}
				if p.Health != before {
					since = at
				}
				if !p.Since.Equal(since) {
					t.Errorf("after %q: since %s, changed at %s", tt.took[:i+1], p.Since, since)
				}
				got += letters[p.Health]
			}
			if got != tt.want || p.Why != tt.why {
				t.Errorf("%s\ngot  %s %q\nwant %s %q", tt.took, got, p.Why, tt.want, tt.why)
			}
		})
	}
}

func TestJudgeTakesTheWorstAndNamesIt(t *testing.T) {
	agent := policies.NewProbe(check(vm.CheckAgent, 3, 1), begin)
	prompt, quiet := check(vm.CheckConsole, 1, 1), check(vm.CheckConsole, 1, 1)
	prompt.Healthy, quiet.Unhealthy = "login:", "panic"
	console := policies.NewProbe(prompt, begin)
	up := agent.Took(true, begin, "")
	shaky := up.Took(false, begin, "slow")
	tests := []struct {
		name   string
		probes []policies.Probe
		want   vm.Health
		why    string
	}{
		{"none", nil, vm.HealthUnknown, "no check is set"},
		{"one starts", []policies.Probe{up, console}, vm.HealthStarting, "console: \"login:\" not seen yet"},
		{"a start holds doubts off", []policies.Probe{shaky, console}, vm.HealthStarting, "console: \"login:\" not seen yet"},
		{"but no certain end", []policies.Probe{console.Condemned(begin, "panic"), agent}, vm.Unhealthy, "console: panic"},
		{"a doubt", []policies.Probe{console.Took(true, begin, ""), shaky}, vm.Degraded, "guest-agent: 1 of 3 failures in a row: slow"},
		{"nothing to wait for", []policies.Probe{policies.NewProbe(quiet, begin)}, vm.Healthy, "console: nothing unhealthy seen"},
		{"all well", []policies.Probe{up, console.Took(true, begin, "saw login:")}, vm.Healthy, "guest-agent: answers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if j := policies.Judge(tt.probes); j.Health != tt.want || j.Why != tt.why {
				t.Errorf("got %s %q, want %s %q", j.Health, j.Why, tt.want, tt.why)
			}
		})
	}
}

func TestProbeNeverCountsFailuresOfAStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := check(vm.CheckAgent, rapid.IntRange(1, 5).Draw(t, "failures"), rapid.IntRange(1, 5).Draw(t, "successes"))
		p, row := policies.NewProbe(c, begin), 0
		for range rapid.IntRange(0, 40).Draw(t, "results") {
			started := p.Health != vm.HealthStarting
			ok := rapid.Bool().Draw(t, "ok")
			p = p.Took(ok, begin, "\x1b[2J")
			if row++; ok || !started {
				row = 0
			}
			switch {
			case strings.Contains(p.Why, "\x1b"):
				t.Fatalf("a guest's escape came through: %q", p.Why)
			case row >= c.Failures && p.Health != vm.Unhealthy:
				t.Fatalf("%d failures in a row are %s", row, p.Health)
			case !started && !ok && p.Health != vm.HealthStarting:
				t.Fatalf("a failure ended the start as %s", p.Health)
			}
		}
	})
}

// What says that nobody answered needs no more words for it.
func TestAnAnswerThatDidNotComeIsToldOnce(t *testing.T) {
	for detail, want := range map[string]string{
		"": "no answer yet", "connection refused": "no answer yet: connection refused",
		"no answer within 30s": "no answer within 30s", "no answer in time": "no answer in time",
	} {
		p := policies.NewProbe(vm.Check{Type: vm.CheckAgent}, begin).Took(false, begin.Add(time.Minute), detail)
		if p.Why != want || p.Health != vm.HealthStarting {
			t.Errorf("%q is told as %q, health %s", detail, p.Why, p.Health)
		}
	}
}
