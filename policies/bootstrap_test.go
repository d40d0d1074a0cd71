package policies_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// TestOrderStories plays testdata/order.txt: a line for each VM of a node
// ("web 5 unhealthy crashed 2 after db healthy cache", whatever is left out is
// nought), and after an empty line what came out of it.
func TestOrderStories(t *testing.T) {
	const file = "testdata/order.txt"
	told, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	var all []policies.Candidate
	tell := func() {
		if len(all) > 0 {
			fmt.Fprintf(&out, "→ up    %s\n→ down  %s\n", words(policies.Order(all)), down(all))
		}
		all = nil
	}
	for line := range strings.Lines(string(told)) {
		if strings.HasPrefix(line, "→") {
			continue
		}
		w := strings.Fields(line)
		if len(w) == 0 {
			tell()
		} else if w[0] != "#" {
			all = append(all, candidate(t, w))
		}
		out.WriteString(line)
	}
	tell()
	golden(t, file, out.String())
}

func candidate(t *testing.T, w []string) policies.Candidate {
	t.Helper()
	c := policies.Candidate{Name: vm.Name(w[0]), Health: vm.Healthy}
	for i := 1; i < len(w); i++ {
		var err error
		switch w[i] {
		case "healthy", "degraded", "unhealthy", "unknown":
			err = c.Health.UnmarshalText([]byte(w[i]))
		case "crashed":
			i++
			_, err = fmt.Sscan(w[i], &c.Failures)
		case "after":
			for _, d := range w[i+1:] {
				c.DependsOn = append(c.DependsOn, vm.Dependency{VM: vm.Name(d), Is: vm.IsRunning})
			}
			i = len(w)
		default:
			_, err = fmt.Sscan(w[i], &c.Priority)
		}
		if err != nil {
			t.Fatalf("%v: %v", w, err)
		}
	}
	return c
}

func words(names []vm.Name) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return strings.Join(out, " ")
}

// down is how a node's VMs end: who may, then who may once these are down, and so on.
func down(all []policies.Candidate) string {
	var steps []string
	for left := slices.Clone(all); len(left) > 0; {
		now := policies.MayEnd(left)
		steps = append(steps, words(now))
		left = slices.DeleteFunc(left, func(c policies.Candidate) bool { return slices.Contains(now, c.Name) })
	}
	return strings.Join(steps, " | ")
}

// drawNode draws a node's VMs, with cycles where they are allowed.
func drawNode(t *rapid.T, cycles bool) []policies.Candidate {
	all := make([]policies.Candidate, rapid.IntRange(1, 12).Draw(t, "VMs"))
	for i := range all {
		c := policies.Candidate{
			Name: vm.Name(fmt.Sprintf("vm-%02d", i)), Priority: rapid.IntRange(-2, 2).Draw(t, "priority"),
			Health:   rapid.SampledFrom([]vm.Health{vm.Healthy, vm.Unhealthy, vm.HealthUnknown}).Draw(t, "health"),
			Failures: rapid.IntRange(0, 2).Draw(t, "failures"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "dependencies") {
			on := rapid.IntRange(0, len(all)).Draw(t, "on") // the last is no VM of this node
			if cycles || on < i || on == len(all) {
				c.DependsOn = append(c.DependsOn, vm.Dependency{VM: vm.Name(fmt.Sprintf("vm-%02d", on)), Is: vm.IsRunning})
			}
		}
		all[i] = c
	}
	return all
}

// reaches says whether a VM depends on another one, directly or not.
func reaches(all []policies.Candidate, from, to vm.Name, seen map[vm.Name]bool) bool {
	for _, c := range all {
		if c.Name != from || seen[from] {
			continue
		}
		seen[from] = true
		for _, d := range c.DependsOn {
			if d.VM == to || reaches(all, d.VM, to, seen) {
				return true
			}
		}
	}
	return false
}

func dependsOnIt(all []policies.Candidate, from, to vm.Name) bool {
	return reaches(all, from, to, map[vm.Name]bool{})
}

func TestOrderPutsDependenciesFirstUnlessInACycle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, rapid.Bool().Draw(t, "cycles"))
		order := policies.Order(all)
		if len(order) != len(all) {
			t.Fatalf("%d of %d come up: %v", len(order), len(all), order)
		}
		for _, c := range all {
			at := slices.Index(order, c.Name)
			if at < 0 {
				t.Fatalf("%s doesn't come up: %v", c.Name, order)
			}
			for _, d := range c.DependsOn {
				if first := slices.Index(order, d.VM); first > at && !dependsOnIt(all, d.VM, c.Name) {
					t.Fatalf("%s depends on %s, and comes before it: %v", c.Name, d.VM, order)
				}
			}
		}
	})
}

func TestOrderIsTheSameHoweverTheVMsAreListed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, true)
		mixed := rapid.Permutation(all).Draw(t, "mixed")
		if a, b := policies.Order(all), policies.Order(mixed); !slices.Equal(a, b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

// Among those that nothing ties together: urgent first, then the well ones.
func TestOrderIsByPriorityThenHealth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, true)
		for i := range all {
			all[i].DependsOn = nil
		}
		order := policies.Order(all)
		by := map[vm.Name]policies.Candidate{}
		for _, c := range all {
			by[c.Name] = c
		}
		flaps := func(c policies.Candidate) bool { return c.Failures > 0 || c.Health == vm.Unhealthy }
		for i := 1; i < len(order); i++ {
			a, b := by[order[i-1]], by[order[i]]
			if a.Priority < b.Priority || a.Priority == b.Priority && flaps(a) && !flaps(b) {
				t.Fatalf("%+v comes before %+v", a, b)
			}
		}
	})
}

// An urgent VM pulls all that it depends on before what is less urgent.
func TestOrderHandsPriorityDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, false)
		urgent := rapid.IntRange(0, len(all)-1).Draw(t, "urgent")
		all[urgent].Priority = 100
		order := policies.Order(all)
		for i, n := range order[:slices.Index(order, all[urgent].Name)] {
			if !dependsOnIt(all, all[urgent].Name, n) {
				t.Fatalf("%s, number %d, comes before the most urgent one, which doesn't need it: %v", n, i, order)
			}
		}
	})
}

func TestCycleFindsEveryCycleThatANewDependencyClosesAndNoOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, rapid.Bool().Draw(t, "cycles there already"))
		one := all[rapid.IntRange(0, len(all)-1).Draw(t, "VM")]
		of := func(name vm.Name) []vm.Dependency {
			i := slices.IndexFunc(all, func(c policies.Candidate) bool { return c.Name == name })
			if i < 0 {
				return nil
			}
			return all[i].DependsOn
		}
		cycle := policies.Cycle(one.Name, one.DependsOn, of)
		if closes := dependsOnIt(all, one.Name, one.Name); closes != (cycle != nil) {
			t.Fatalf("%s is in a cycle: %v; found %v", one.Name, closes, cycle)
		}
		if cycle == nil {
			return
		}
		if len(cycle) < 2 || cycle[0] != one.Name || cycle[len(cycle)-1] != one.Name {
			t.Fatalf("it doesn't begin and end at %s: %v", one.Name, cycle)
		}
		for i := 1; i < len(cycle); i++ {
			if !slices.ContainsFunc(of(cycle[i-1]), func(d vm.Dependency) bool { return d.VM == cycle[i] }) {
				t.Fatalf("%s doesn't depend on %s: %v", cycle[i-1], cycle[i], cycle)
			}
		}
	})
}

// Whoever ends is needed by nobody that is up, unless it is in a cycle; and
// somebody always may, so a node's end never hangs.
func TestMayEndSparesWhoIsNeeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawNode(t, rapid.Bool().Draw(t, "cycles"))
		for left := slices.Clone(all); len(left) > 0; {
			now := policies.MayEnd(left)
			if len(now) == 0 {
				t.Fatalf("nobody may end of %v", left)
			}
			for _, n := range now {
				for _, c := range left {
					needs := slices.ContainsFunc(c.DependsOn, func(d vm.Dependency) bool { return d.VM == n })
					if needs && len(now) < len(left) {
						t.Fatalf("%s may end, and %s depends on it", n, c.Name)
					}
				}
			}
			before := len(left)
			left = slices.DeleteFunc(left, func(c policies.Candidate) bool { return slices.Contains(now, c.Name) })
			if len(left) == before {
				t.Fatalf("%v are not up", now)
			}
		}
	})
}

func TestUnmetWaitsForWhatComesAndNoLonger(t *testing.T) {
	dep := func(is string) []vm.Dependency {
		return []vm.Dependency{{VM: "db", Is: is, Timeout: time.Minute}}
	}
	coming, up := policies.Standing{Coming: true}, policies.Standing{Coming: true, Running: true}
	tests := []struct {
		name   string
		deps   []vm.Dependency
		after  time.Duration
		stands *policies.Standing // nil: there is no such VM
		why    string
	}{
		{"nothing to wait for", nil, 0, nil, ""},
		{"it comes", dep(vm.IsRunning), 0, &coming, "waits until db is running"},
		{"it is up", dep(vm.IsRunning), 0, &up, ""},
		{"it is up, and not healthy", dep(vm.IsHealthy), 0, &up, "waits until db is healthy"},
		{"it is healthy", dep(vm.IsHealthy), 0, &policies.Standing{Coming: true, Running: true, Healthy: true}, ""},
		{"the last moment", dep(vm.IsRunning), time.Minute - 1, &coming, "waits until db is running"},
		{"timed out", dep(vm.IsRunning), time.Minute, &coming, ""},
		{"it doesn't come", dep(vm.IsRunning), 0, &policies.Standing{}, ""},
		{"there is no such VM", dep(vm.IsRunning), 0, nil, ""},
		{"the clock was set back", dep(vm.IsRunning), -time.Hour, &coming, "waits until db is running"},
	}
	for _, tt := range tests {
		why, until := policies.Unmet(begin.Add(tt.after), begin, tt.deps, func(vm.Name) (policies.Standing, bool) {
			if tt.stands == nil {
				return policies.Standing{}, false
			}
			return *tt.stands, true
		})
		if why != tt.why || (why != "") != until.Equal(begin.Add(time.Minute)) {
			t.Errorf("%s: %q until %s, want %q", tt.name, why, until, tt.why)
		}
	}
}

// Whoever waits knows when that ends, and at that time somebody fewer is waited for.
func TestUnmetEndsByItself(t *testing.T) { // P9
	rapid.Check(t, func(t *rapid.T) {
		var deps []vm.Dependency
		for i := range rapid.IntRange(0, 5).Draw(t, "dependencies") {
			deps = append(deps, vm.Dependency{
				VM: vm.Name(fmt.Sprint(i)), Is: rapid.SampledFrom([]string{vm.IsRunning, vm.IsHealthy}).Draw(t, "is"),
				Timeout: time.Duration(rapid.IntRange(1, 100).Draw(t, "timeout")) * time.Second,
			})
		}
		now := begin
		for range len(deps) + 1 {
			why, until := policies.Unmet(now, begin, deps, func(vm.Name) (policies.Standing, bool) {
				return policies.Standing{Coming: true}, true
			})
			if why == "" {
				return
			}
			if !until.After(now) {
				t.Fatalf("%s until %s, and it is %s", why, until, now)
			}
			now = until
		}
		t.Fatalf("it still waits: %v", deps)
	})
}

func TestPaceIsNeverNoughtNorOverItsMost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cores, fixed := rapid.IntRange(0, 300).Draw(t, "cores"), rapid.IntRange(-1, 50).Draw(t, "fixed")
		p := policies.NewPace(cores, fixed)
		if fixed > 0 && p.Most != fixed {
			t.Fatalf("at most %d are configured: %+v", fixed, p)
		}
		for range rapid.IntRange(0, 60).Draw(t, "starts") {
			before := p.Limit
			switch rapid.IntRange(0, 2).Draw(t, "start") {
			case 0:
				if p = p.Came(true); p.Limit < before || p.Limit > before+1 {
					t.Fatalf("%d became %d when one came", before, p.Limit)
				}
			case 1:
				if p = p.Came(false); p.Limit != before {
					t.Fatalf("it grew under pressure to %d", p.Limit)
				}
			case 2:
				if p = p.TookTooLong(); p.Limit != max(1, before/2) {
					t.Fatalf("%d became %d when one took too long", before, p.Limit)
				}
			}
			if p.Limit < 1 || p.Limit > p.Most {
				t.Fatalf("%+v", p)
			}
		}
		for range p.Most {
			p = p.Came(true)
		}
		if p.Limit != p.Most {
			t.Fatalf("it doesn't grow back: %+v", p)
		}
	})
}

func TestStrainNamesWhatIsWaitedFor(t *testing.T) {
	tests := []struct {
		cpu, memory, io float64
		want            string
	}{
		{0, 0, 0, ""},
		{100, 20, 60, ""}, // boots make CPU pressure themselves
		{0, 0, 61, "I/O pressure is 61 %, over 60 %"},
		{100, 21, 100, "memory pressure is 21 %, over 20 %"},
	}
	for _, tt := range tests {
		if got := policies.DefaultStrain.Strained(tt.cpu, tt.memory, tt.io); got != tt.want {
			t.Errorf("%v: %q, want %q", tt, got, tt.want)
		}
	}
	if got := (policies.Strain{CPU: 80, Memory: 20, IO: 60}).Strained(81, 0, 0); got != "CPU pressure is 81 %, over 80 %" {
		t.Errorf("a bound of our own: %q", got)
	}
}
