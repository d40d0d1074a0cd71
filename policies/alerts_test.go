package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

// watched is a node that is looked at every ten seconds.
type watched struct {
	now   time.Time
	state AlertState
	facts AlertFacts
	story []string
	over  string // the last alert that was cleared, and why
}

func newWatched() *watched {
	w := &watched{now: noon}
	w.facts.Node.Capacity.Memory = vm.GiB // what may be promised of it says nothing of what is left of it
	w.facts.Node.Usage = vm.NodeUsage{DiskFree: 100 * vm.GiB, MemoryOf: 100 * vm.GiB}
	return w
}

// look is one look, ten seconds after the last.
func (w *watched) look(change func(f *AlertFacts)) {
	w.now = w.now.Add(10 * time.Second)
	w.facts.Node.Usage.At = w.now
	if change != nil {
		change(&w.facts)
	}
	state, raised, cleared := Alerts(w.now, w.state, w.facts, DefaultAlertMarks)
	w.state = state
	for _, a := range raised {
		w.story = append(w.story, fmt.Sprintf("+%s %s%s", w.now.Sub(noon), a.Kind, suffix(a.VM)))
	}
	for _, a := range cleared {
		w.story = append(w.story, fmt.Sprintf("-%s %s%s", w.now.Sub(noon), a.Kind, suffix(a.VM)))
		w.over = string(a.Kind) + " " + a.Why
	}
}

func suffix(name vm.Name) string {
	if name == "" {
		return ""
	}
	return "/" + string(name)
}

func (w *watched) looks(n int, change func(f *AlertFacts)) {
	for range n {
		w.look(change)
	}
}

func memory(percent int64) func(f *AlertFacts) {
	return func(f *AlertFacts) { f.Node.Usage.Memory = vm.GiB * vm.Bytes(percent) }
}

func TestAlertsComeAndGo(t *testing.T) {
	cases := map[string]struct {
		run  func(w *watched)
		want []string
	}{
		"a level that stays is raised after its time, and cleared after it too": {func(w *watched) {
			w.looks(3, memory(50))
			w.looks(5, memory(95))
			w.looks(5, memory(87)) // between the marks nothing changes
			w.looks(5, memory(50))
		}, []string{"+1m10s memory", "-2m50s memory"}},
		"a peak is none": {func(w *watched) {
			w.look(memory(50))
			w.looks(2, memory(95))
			w.looks(9, memory(50))
		}, nil},
		"what holds when a node's first daemon starts has its time": {func(w *watched) {
			w.looks(4, func(f *AlertFacts) {
				memory(95)(f)
				f.Node.Usage.DiskUsed = 900 * vm.GiB
				f.Node.Usage.CPU = 100 // a boot of many guests: it has to last
				f.Node.Over = []string{"memory: 5GiB reserved of 4GiB"}
				f.Stalled = []Stalled{{VM: "web", Since: noon, Why: "disk data"}}
				f.Unreleased = []vm.Name{"gone"} // a creation that is under way has its time
			})
		}, []string{"+10s out-of-space/web", "+40s memory", "+40s disk", "+40s overcommit"}},
		"a new daemon goes on with the alerts of the last": {func(w *watched) {
			w.state.Active = []vm.Alert{
				{Kind: vm.AlertMemory, Why: "old", Try: "old"},
				{Kind: vm.AlertDisk, Why: "old", Try: "old"},
				{Kind: vm.AlertOutOfSpace, VM: "a", Why: "old", Try: "old"},
				{Kind: vm.AlertOutOfSpace, VM: "b", Why: "old", Try: "old"},
			}
			w.look(func(f *AlertFacts) { memory(95)(f); f.Strange = true })
			w.looks(9, func(f *AlertFacts) { f.Strange, f.Stalled = false, []Stalled{{VM: "b"}} })
		}, []string{"-20s out-of-space/a", "-40s disk"}},
		"pressure has to last": {func(w *watched) {
			w.looks(32, func(f *AlertFacts) { f.Node.Usage.CPU, f.Node.Usage.MemoryWait, f.Node.Usage.IO = 90, 30, 70 })
			w.looks(32, func(f *AlertFacts) { f.Node.Usage.CPU, f.Node.Usage.MemoryWait, f.Node.Usage.IO = 0, 0, 0 })
		}, []string{
			"+1m10s memory-pressure", "+5m10s cpu-pressure", "+5m10s io-pressure",
			"-6m30s memory-pressure", "-10m30s cpu-pressure", "-10m30s io-pressure",
		}},
		"a leak is told after a minute, and gone when it is": {func(w *watched) {
			w.looks(8, func(f *AlertFacts) { f.Unreleased = []vm.Name{"gone"} })
			w.look(func(f *AlertFacts) { f.Unreleased = nil })
		}, []string{"+1m10s unreleased/gone", "-1m30s unreleased/gone"}},
		"each VM without space has its own": {func(w *watched) {
			w.look(nil)
			w.look(func(f *AlertFacts) { f.Stalled = []Stalled{{VM: "b"}, {VM: "a"}} })
			w.look(func(f *AlertFacts) { f.Stalled = []Stalled{{VM: "b"}} })
			w.look(func(f *AlertFacts) { f.Stalled = nil })
		}, []string{"+20s out-of-space/a", "+20s out-of-space/b", "-30s out-of-space/a", "-40s out-of-space/b"}},
		"a disk that fills is told hours before": {func(w *watched) {
			w.looks(120, func(f *AlertFacts) { f.Node.Usage.DiskUsed += 30 * vm.MiB; f.Node.Usage.DiskFree -= 30 * vm.MiB })
			w.looks(500, nil)
		}, []string{"+16m10s disk-growth", "-49m10s disk-growth"}},
		"without a measurement nothing changes": {func(w *watched) {
			w.looks(6, memory(95))
			w.looks(9, func(f *AlertFacts) { f.Node.Usage = vm.NodeUsage{} })
		}, []string{"+40s memory"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWatched()
			c.run(w)
			if !slices.Equal(w.story, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(w.story, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestAnAlertSaysTheNumbersOfNow(t *testing.T) {
	w := newWatched()
	w.looks(4, memory(95))
	w.look(memory(97))
	if len(w.state.Active) != 1 || w.state.Active[0].Why != "97GiB of 100GiB memory are in use" || w.state.Active[0].Try == "" {
		t.Errorf("got %+v", w.state.Active)
	}
	if !w.state.Active[0].Since.Equal(noon.Add(40 * time.Second)) {
		t.Errorf("it holds since %s", w.state.Active[0].Since)
	}
	w.looks(4, memory(12))
	if want := "memory 12GiB of 100GiB memory are in use"; w.over != want {
		t.Errorf("it was told to be over by %q, want %q", w.over, want)
	}
}

// Laws: an alert never comes and goes faster than its time, each has a reason
// that holds, and none outlives its reason.
func TestAlertLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWatched()
		marks := DefaultAlertMarks
		changed := map[vm.AlertKind]time.Time{}
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]vm.Name{"a", "b", "c"}), 0, 3, rapid.ID[vm.Name])
		for i := range rapid.IntRange(1, 120).Draw(t, "looks") {
			before := w.state
			w.look(func(f *AlertFacts) {
				u := &f.Node.Usage
				if rapid.IntRange(0, 9).Draw(t, "jump") == 0 {
					back := w.now
					if w.now = w.now.Add(time.Duration(rapid.Int64Range(-7200, 7200).Draw(t, "clock")) * time.Second); w.now.Before(back) {
						clear(changed) // nobody knows how long ago that was
					}
				}
				u.At = w.now
				u.Memory = vm.Bytes(rapid.Int64Range(0, 110).Draw(t, "memory")) * vm.GiB
				u.DiskFree = vm.Bytes(rapid.Int64Range(0, 100).Draw(t, "free")) * vm.GiB
				u.DiskUsed = vm.Bytes(rapid.Int64Range(0, 100).Draw(t, "used")) * vm.GiB
				u.MemoryWait = rapid.Float64Range(0, 100).Draw(t, "wait")
				f.Unreleased = names.Draw(t, "unreleased")
				f.Stalled = nil
				for _, n := range names.Draw(t, "stalled") {
					f.Stalled = append(f.Stalled, Stalled{VM: n})
				}
			})
			if len(w.state.turning) > len(vm.AlertKinds())+6 || len(w.state.pace.samples) > paceKept || len(w.state.Active) > len(vm.AlertKinds())+6 {
				t.Fatalf("it grows: %d turning, %d samples", len(w.state.turning), len(w.state.pace.samples))
			}
			for _, a := range w.state.Active {
				if a.Why == "" || a.Try == "" || a.Since.After(w.now) && i == 0 {
					t.Fatalf("an alert that helps nobody: %+v", a)
				}
				if a.Kind == vm.AlertOutOfSpace && !slices.ContainsFunc(w.facts.Stalled, func(s Stalled) bool { return s.VM == a.VM }) {
					t.Fatalf("%s has space again, and its alert holds", a.VM)
				}
				if a.Kind == vm.AlertUnreleased && !slices.Contains(w.facts.Unreleased, a.VM) {
					t.Fatalf("the reservation of %s is released, and its alert holds", a.VM)
				}
			}
			for _, kind := range []vm.AlertKind{vm.AlertMemory, vm.AlertDisk, vm.AlertMemoryPressure} {
				is := func(a vm.Alert) bool { return a.Kind == kind }
				if slices.ContainsFunc(before.Active, is) == slices.ContainsFunc(w.state.Active, is) {
					continue
				}
				if last, ok := changed[kind]; ok && w.now.Sub(last).Abs() < marks.Memory.For {
					t.Fatalf("%s flaps: it changed at %s and again at %s", kind, last, w.now)
				}
				changed[kind] = w.now
			}
		}
		w.look(func(f *AlertFacts) {
			f.Node.Usage, f.Unreleased, f.Stalled = vm.NodeUsage{At: w.now.Add(24 * time.Hour)}, nil, nil
			w.now = f.Node.Usage.At
		})
		w.looks(60, nil)
		if len(w.state.Active) != 0 || len(w.state.turning) != 0 {
			t.Fatalf("all is well, and these hold: %+v, %v", w.state.Active, w.state.turning)
		}
	})
}

func TestTheDisksPace(t *testing.T) {
	fill := func(every time.Duration, n int, step vm.Bytes) diskPace {
		var p diskPace
		for i := range n {
			p = p.add(vm.NodeUsage{At: noon.Add(time.Duration(i) * every), DiskUsed: vm.Bytes(i) * step})
		}
		return p
	}
	cases := map[string]struct {
		pace  diskPace
		until time.Duration
		known bool
	}{
		"steady":       {fill(time.Minute, 61, vm.MiB), 100 * time.Minute, true},
		"too short":    {fill(time.Minute, 14, vm.MiB), 0, false},
		"shrinking":    {fill(time.Minute, 61, -vm.MiB), 0, false},
		"still":        {fill(time.Minute, 61, 0), 0, false},
		"in ages":      {fill(time.Minute, 61, 1), 0, false},
		"many samples": {fill(10*time.Second, 3600, vm.MiB), 1000 * time.Second, true},
	}
	for name, c := range cases {
		got, known := c.pace.untilFull(100 * vm.MiB)
		if known != c.known || got.Round(time.Second) != c.until {
			t.Errorf("%s: %s %v, want %s %v", name, got, known, c.until, c.known)
		}
		if len(c.pace.samples) > paceKept {
			t.Errorf("%s: %d samples", name, len(c.pace.samples))
		}
	}
}
