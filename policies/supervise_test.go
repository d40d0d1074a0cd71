package policies_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

var update = flag.Bool("update", false, "write the goldens anew; then read the diff")

var begin = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// TestSuperviseStories plays testdata/supervise/*.txt: a line that begins with
// "→" is what came out of the line above it.
func TestSuperviseStories(t *testing.T) {
	files, err := filepath.Glob("testdata/supervise/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			told, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, play(t, string(told)))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s differs (%v); go test ./policies -update, then read the diff. Got:\n%s", file, err, got)
	}
}

type story struct {
	t      *testing.T
	rules  vm.Restart
	state  vm.State
	spread float64
}

func play(t *testing.T, told string) string {
	s := story{t: t, rules: vm.Spec{}.Filled().Restart, spread: 0.5}
	s.state.LaunchedAt = begin
	var out strings.Builder
	for line := range strings.Lines(told) {
		if strings.HasPrefix(line, "→") {
			continue
		}
		out.WriteString(line)
		if answer := s.step(strings.Fields(line)); answer != "" {
			out.WriteString("→ " + answer + "\n")
		}
	}
	return out.String()
}

// step runs one line: a setting, or "at TIME what".
func (s *story) step(w []string) string {
	if len(w) == 0 || w[0] == "#" {
		return ""
	}
	switch w[0] {
	case "policy":
		s.rules.Policy = vm.RestartPolicy(w[1])
	case "budget":
		s.rules.Budget = vm.Budget{Attempts: int(s.number(w[1])), Window: s.time(w[2])}
	case "curve":
		s.rules.Delay = vm.Delay{Initial: s.time(w[1]), Factor: s.number(w[2]), Max: s.time(w[3]), Jitter: s.number(w[4])}
	case "delays":
		s.rules.Delays = nil
		for _, d := range w[1:] {
			s.rules.Delays = append(s.rules.Delays, s.time(d))
		}
	case "spread":
		s.spread = s.number(w[1])
	case "at":
		return s.happen(begin.Add(s.time(w[1])), w[2], w[3:])
	default:
		s.t.Fatalf("no such line: %v", w)
	}
	return ""
}

func (s *story) happen(now time.Time, what string, more []string) string {
	switch what {
	case "unlaunched": // the next failure comes before the launch
		s.state.LaunchedAt = time.Time{}
	case "launched":
		s.state.LaunchedAt = now
	case "ready":
		s.state.ReadyAt = now
	case "healthy", "degraded", "unhealthy":
		if err := s.state.Health.UnmarshalText([]byte(what)); err != nil {
			s.t.Fatal(err)
		}
		s.state.HealthSince = now
	case "adopting":
		s.state.Phase = vm.Adopting
	case "budget":
		count, charged, left := policies.Budget(now, s.rules, s.state)
		return fmt.Sprintf("restarts %d, charged %d, remaining %d", count, charged, left)
	default:
		return s.fail(now, vm.Cause(what), more)
	}
	return ""
}

func (s *story) fail(now time.Time, cause vm.Cause, more []string) string {
	f := vm.Failure{Cause: cause, At: now, Ready: !s.state.ReadyAt.IsZero()}
	if len(more) > 0 || !strings.Contains(fmt.Sprint(vm.Causes()), string(cause)) {
		s.t.Fatalf("no such cause: %s %v", cause, more)
	}
	d := policies.Supervise(now, s.rules, s.state, f, s.spread)
	s.state = policies.Charge(now, s.rules, s.state, d)
	if d.Do == vm.RestartNow || d.Do == vm.BackOff {
		s.state.Restarts++
	}
	s.state.Phase, s.state.Health, s.state.ReadyAt = vm.Starting, vm.HealthStarting, time.Time{}
	s.state.LaunchedAt = now.Add(d.After)
	return fmt.Sprintf("%s %s [%s] %s", d.Do, d.After, d.Rule, d.Why)
}

func (s *story) time(w string) time.Duration {
	d, err := time.ParseDuration(w)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *story) number(w string) float64 {
	n, err := strconv.ParseFloat(w, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}
