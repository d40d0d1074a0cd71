package policies_test

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// meeting is one failure met in some state, drawn from all that Spec.Check lets
// through, with clocks that jump.
type meeting struct {
	now    time.Time
	rules  vm.Restart
	state  vm.State
	fail   vm.Failure
	spread float64
}

func (m meeting) decide() vm.Decision {
	return policies.Supervise(m.now, m.rules, m.state, m.fail, m.spread)
}

func (m meeting) charge(d vm.Decision) vm.State {
	return policies.Charge(m.now, m.rules, m.state, d)
}

func instant(t *rapid.T, name string) time.Time {
	if rapid.IntRange(0, 4).Draw(t, name+"?") == 0 {
		return time.Time{}
	}
	return begin.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, name)))
}

func drawRules(t *rapid.T) vm.Restart {
	span := func(name string, low, high time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(low), int64(high)).Draw(t, name))
	}
	r := vm.Restart{
		Policy: rapid.SampledFrom([]vm.RestartPolicy{vm.RestartAlways, vm.RestartOnFailure, vm.RestartNever}).Draw(t, "policy"),
		Budget: vm.Budget{Attempts: rapid.IntRange(1, vm.MaxLedger-1).Draw(t, "attempts"), Window: span("window", time.Second, time.Hour)},
	}
	r.Delay = vm.Delay{
		Initial: span("initial", time.Millisecond, time.Hour),
		Factor:  rapid.Float64Range(1, 10).Draw(t, "factor"),
		Jitter:  rapid.Float64Range(0, 1).Draw(t, "jitter"),
	}
	r.Delay.Max = span("max", r.Delay.Initial, 24*time.Hour)
	r.ResetAfter = span("resetAfter", time.Second, time.Hour)
	for range rapid.IntRange(0, 3).Draw(t, "listed") {
		r.Delays = append(r.Delays, span("listed delay", 0, time.Hour))
	}
	s := vm.Spec{Name: "a", Restart: r}.Filled()
	if err := s.Check(); err != nil {
		t.Fatalf("the law draws what the spec refuses: %v", err)
	}
	return r
}

func drawMeeting(t *rapid.T) meeting {
	m := meeting{
		now: begin, rules: drawRules(t),
		fail:   vm.Failure{Cause: rapid.SampledFrom(vm.Causes()).Draw(t, "cause"), Ready: rapid.Bool().Draw(t, "ready")},
		spread: rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "spread"),
	}
	m.state = vm.State{
		Phase:       rapid.SampledFrom(vm.AllPhases.Each()).Draw(t, "phase"),
		LaunchedAt:  instant(t, "launchedAt"),
		ReadyAt:     instant(t, "readyAt"),
		HealthSince: instant(t, "healthSince"),
		Health:      vm.Health(rapid.IntRange(0, int(vm.Unhealthy)).Draw(t, "health")),
		Tries:       rapid.IntRange(-1, 5000).Draw(t, "tries"),
		Spared:      rapid.IntRange(-1, 5000).Draw(t, "spared"),
		Restarts:    rapid.Uint64().Draw(t, "restarts"),
	}
	for range rapid.IntRange(0, vm.MaxLedger).Draw(t, "ledger") {
		m.state.Ledger = append(m.state.Ledger, instant(t, "entry"))
	}
	slices.SortFunc(m.state.Ledger, time.Time.Compare)
	return m
}

func TestDelayStaysInsideItsBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		d := m.decide()
		top := m.rules.Delay.Max
		if len(m.rules.Delays) > 0 {
			top = slices.Max(m.rules.Delays)
		}
		if !d.Charged {
			top = max(top, time.Second) // the floor of what no budget ends
		}
		if d.After < 0 || d.After > top {
			t.Fatalf("delay %s is outside 0..%s: %+v", d.After, top, d)
		}
		if (d.Do == vm.BackOff) != (d.After > 0) {
			t.Fatalf("only a backoff has a delay: %+v", d)
		}
		if d.Rule == "" || d.Why == "" || len(d.Why) > 200 {
			t.Fatalf("a decision has a rule and one sentence: %+v", d)
		}
	})
}

func TestDelayGrowsWithEachTry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		m.rules.Delays, m.rules.Policy, m.rules.Budget.Attempts = nil, vm.RestartAlways, vm.MaxLedger-1
		m.state.Ledger, m.fail.Cause = nil, vm.CauseVMMCrash
		first := m.decide()
		m.state.Tries = max(0, m.state.Tries) + 1
		if next := m.decide(); next.After < first.After-time.Nanosecond { // the last bit of a float is no shorter delay
			t.Fatalf("after one more try the delay fell from %s to %s", first.After, next.After)
		}
	})
}

func TestGivesUpExactlyWhenTheBudgetIsSpent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		m.rules.Policy = vm.RestartAlways
		_, before, left := policies.Budget(m.now, m.rules, m.state)
		d := m.decide()
		if before+left < m.rules.Budget.Attempts {
			t.Fatalf("%d charged and %d left are less than the budget of %d", before, left, m.rules.Budget.Attempts)
		}
		spent := m.fail.Cause == vm.CauseStartPermanent || d.Charged && left == 0
		if (d.Do == vm.GiveUp) != spent {
			t.Fatalf("charged %d, left %d, and decided %+v", before, left, d)
		}
	})
}

func TestSpreadMovesNothingButTheDelayInsideItsJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		a := m.decide()
		for _, s := range []float64{0, 0.5, rapid.Float64().Draw(t, "any"), math.NaN(), math.Inf(1), -1} {
			m.spread = s
			b := m.decide()
			if a.Rule != b.Rule || a.Charged != b.Charged || (a.Do == vm.GiveUp) != (b.Do == vm.GiveUp) {
				t.Fatalf("spread %v changed %+v to %+v", s, a, b)
			}
			if len(m.rules.Delays) > 0 && a != b {
				t.Fatalf("a listed delay was spread: %+v, %+v", a, b)
			}
			low, high := min(a.After, b.After), max(a.After, b.After)
			j := m.rules.Delay.Jitter
			if float64(low)*(1+j) < float64(high)*(1-j)-2 {
				t.Fatalf("%s and %s are further apart than jitter %v allows", low, high, j)
			}
		}
	})
}

func TestStayDownIsNoRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		m.rules.Policy = rapid.SampledFrom([]vm.RestartPolicy{vm.RestartOnFailure, vm.RestartNever}).Draw(t, "policy that obeys")
		m.fail.Cause = vm.CauseGuestPoweroff
		if d := m.decide(); d.Do != vm.StayDown || d.After != 0 || d.Charged {
			t.Fatalf("the guest powered itself off: %+v", d)
		}
		m.rules.Policy, m.fail.Cause = vm.RestartNever, rapid.SampledFrom(vm.Causes()).Draw(t, "cause under never")
		if d := m.decide(); d.Do == vm.RestartNow || d.Do == vm.BackOff {
			t.Fatalf("policy never restarted: %+v", d)
		}
	})
}

func TestDecidingIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		kept := m
		kept.state.Ledger, kept.rules.Delays = slices.Clone(m.state.Ledger), slices.Clone(m.rules.Delays)
		d := m.decide()
		after := m.charge(d)
		if again := m.decide(); again != d || !reflect.DeepEqual(m.charge(again), after) {
			t.Fatalf("the same meeting was decided twice: %+v, %+v", d, again)
		}
		if !reflect.DeepEqual(m, kept) {
			t.Fatalf("deciding changed its arguments:\n%+v\n%+v", m, kept)
		}
	})
}

func TestLedgerStaysBoundedSortedAndPast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		_, before, _ := policies.Budget(m.now, m.rules, m.state)
		d := m.decide()
		s := m.charge(d)
		if len(s.Ledger) > vm.MaxLedger || !slices.IsSortedFunc(s.Ledger, time.Time.Compare) {
			t.Fatalf("the ledger has %d entries, sorted: %v", len(s.Ledger), s.Ledger)
		}
		want := before
		if d.Charged {
			want++
		}
		if len(s.Ledger) != min(want, vm.MaxLedger) {
			t.Fatalf("%d were inside the window, decided %+v, kept %d", before, d, len(s.Ledger))
		}
		for _, at := range s.Ledger {
			if at.After(m.now) || m.now.Sub(at) >= m.rules.Budget.Window {
				t.Fatalf("an entry of %s is kept at %s", at, m.now)
			}
		}
		if s.Tries > max(0, m.state.Tries)+1 || d.Charged && (s.Tries < 1 || s.Spared != 0) {
			t.Fatalf("%d tries became %d, %d spared, by %+v", m.state.Tries, s.Tries, s.Spared, d)
		}
		s.Ledger, s.Tries, s.Spared = m.state.Ledger, m.state.Tries, m.state.Spared
		if !reflect.DeepEqual(s, m.state) {
			t.Fatalf("more than the ledger changed:\n%+v\n%+v", s, m.state)
		}
	})
}

// A clock that is set back forgets nothing at once, and holds nothing for
// longer than one window and one failure.
func TestClockSetBackNeitherForgivesNorHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawMeeting(t)
		m.rules.Policy, m.fail.Cause, m.state.ReadyAt = vm.RestartAlways, vm.CauseVMMCrash, time.Time{}
		_, before, _ := policies.Budget(m.now, m.rules, m.state)
		m.state.LaunchedAt = time.Time{}
		m.now = m.now.Add(-time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, "back")))
		_, after, _ := policies.Budget(m.now, m.rules, m.state)
		if after < before {
			t.Fatalf("setting the clock back forgave %d of %d", before-after, before)
		}
		m.state = m.charge(m.decide())
		m.now = m.now.Add(m.rules.Budget.Window)
		if _, held, _ := policies.Budget(m.now, m.rules, m.state); held != 0 {
			t.Fatalf("%d are still held a window later", held)
		}
	})
}

func TestCompletelyUnfilledRulesPanicNowhere(t *testing.T) {
	for _, c := range vm.Causes() {
		f := vm.Failure{Cause: c}
		d := policies.Supervise(time.Time{}, vm.Restart{}, vm.State{}, f, math.NaN())
		policies.Charge(time.Time{}, vm.Restart{}, vm.State{}, d)
		if d.After < 0 {
			t.Errorf("%s: %+v", c, d)
		}
	}
}

func BenchmarkSupervise(b *testing.B) {
	s := vm.State{ReadyAt: begin, LaunchedAt: begin, Health: vm.Healthy, HealthSince: begin, Tries: 4}
	for i := range 5 {
		s.Ledger = append(s.Ledger, begin.Add(time.Duration(i)*time.Minute))
	}
	r := vm.Spec{}.Filled().Restart
	r.Budget.Attempts = 50
	f := vm.Failure{Cause: vm.CauseVMMCrash, Ready: true}
	b.ReportAllocs()
	for b.Loop() {
		policies.Supervise(begin.Add(5*time.Minute), r, s, f, 0.3)
	}
}

func TestSuperviseAllocatesItsSentenceAlone(t *testing.T) {
	s := vm.State{Ledger: []time.Time{begin}, LaunchedAt: begin, Tries: 3, Spared: 3}
	r := vm.Spec{}.Filled().Restart
	for _, c := range []vm.Cause{vm.CauseVMMCrash, vm.CauseLinkLost, vm.CauseStartPermanent, vm.CauseGuestPoweroff} {
		f := vm.Failure{Cause: c, Ready: true}
		if n := testing.AllocsPerRun(100, func() { policies.Supervise(begin, r, s, f, 0.3) }); n > 1 {
			t.Errorf("%s: %v allocations, the sentence alone is allowed", c, n)
		}
	}
}
