package policies

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/vm"
)

var wholeLadder = vm.Reclaim{Steps: []vm.ReclaimStep{
	{Do: vm.ReclaimBalloon, After: 10 * time.Minute}, {Do: vm.ReclaimPause, After: 30 * time.Minute}, {Do: vm.ReclaimSuspend, After: time.Hour},
}, Keep: 50}

// idler is a healthy VM that has been idle for so long.
func idler(name vm.Name, idle time.Duration, change ...func(v *Reclaimable)) Reclaimable {
	v := Reclaimable{
		Name: name, Rules: wholeLadder, Phase: vm.Running, Health: vm.Healthy, Wanted: true,
		Since: noon.Add(-24 * time.Hour), IdleSince: noon.Add(-idle),
	}
	for _, f := range change {
		f(&v)
	}
	return v
}

func taken(do vm.ReclaimDo, ago time.Duration) func(v *Reclaimable) {
	return func(v *Reclaimable) {
		v.Taken, v.Tried, v.Held = do, noon.Add(-ago), v.IdleSince
		if do == vm.ReclaimPause {
			v.Phase, v.Since = vm.Paused, noon.Add(-ago)
		}
	}
}

func busy(v *Reclaimable) { v.IdleSince = time.Time{} }

func short(u *vm.NodeUsage) { u.Memory = 95 * vm.GiB }

func TestWhatIsTakenBack(t *testing.T) {
	min := time.Minute
	cases := map[string]struct {
		vms   []Reclaimable
		node  func(u *vm.NodeUsage)
		ago   time.Duration // since the last step; 0: none yet
		steps string
	}{
		"nothing of a busy one":      {[]Reclaimable{idler("a", 0, busy)}, short, 0, ""},
		"nothing before its time":    {[]Reclaimable{idler("a", 9*min)}, nil, 0, ""},
		"the first rung":             {[]Reclaimable{idler("a", 10*min)}, nil, 0, "a balloon"},
		"one rung at a time":         {[]Reclaimable{idler("a", 5*time.Hour)}, nil, 0, "a balloon"},
		"the second rung":            {[]Reclaimable{idler("a", 30*min, taken(vm.ReclaimBalloon, 20*min))}, nil, 0, "a pause"},
		"not the second before":      {[]Reclaimable{idler("a", 29*min, taken(vm.ReclaimBalloon, 19*min))}, nil, 0, ""},
		"the last rung of ours":      {[]Reclaimable{idler("a", time.Hour, taken(vm.ReclaimPause, 30*min), busy)}, nil, 0, "a suspend"},
		"a person's pause is his":    {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Phase = vm.Paused })}, short, 0, ""},
		"never":                      {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Rules = vm.Reclaim{} })}, short, 0, ""},
		"not one that starts":        {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Phase = vm.Starting })}, short, 0, ""},
		"not one on its way down":    {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Phase = vm.Stopping })}, short, 0, ""},
		"not one that is to end":     {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Wanted = false })}, short, 0, ""},
		"not an unwell one":          {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Health = vm.Degraded })}, short, 0, ""},
		"without checks too":         {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Health = vm.HealthUnknown })}, nil, 0, "a balloon"},
		"only just resumed":          {[]Reclaimable{idler("a", 5*time.Hour, func(v *Reclaimable) { v.Since = noon.Add(-min) })}, nil, 0, ""},
		"short: the idlest":          {[]Reclaimable{idler("a", 2*min), idler("b", 5*min), idler("c", 3*min)}, short, 0, "b balloon"},
		"short: with a pause":        {[]Reclaimable{idler("a", 2*min)}, short, 20 * time.Second, ""},
		"short: after the pause":     {[]Reclaimable{idler("a", 2*min)}, short, 30 * time.Second, "a balloon"},
		"short: the idlest's next":   {[]Reclaimable{idler("a", 2*min), idler("b", 5*min, taken(vm.ReclaimBalloon, 2*min))}, short, 2 * min, "b pause"},
		"waiting counts as short":    {[]Reclaimable{idler("a", 2*min)}, func(u *vm.NodeUsage) { u.MemoryWait = 12 }, 0, "a balloon"},
		"not measured is not short":  {[]Reclaimable{idler("a", 2*min)}, func(u *vm.NodeUsage) { short(u); u.At = time.Time{} }, 0, ""},
		"no longer idle":             {[]Reclaimable{idler("a", 0, busy, taken(vm.ReclaimBalloon, min))}, nil, 0, "a give-back"},
		"its own filling isn't work": {[]Reclaimable{idler("a", 0, busy, taken(vm.ReclaimBalloon, 20*time.Second))}, nil, 0, ""},
		"never any more":             {[]Reclaimable{idler("a", time.Hour, taken(vm.ReclaimBalloon, min), func(v *Reclaimable) { v.Rules = vm.Reclaim{} })}, nil, 0, "a give-back"},
		"a rung that failed is left": {[]Reclaimable{idler("a", time.Hour, func(v *Reclaimable) { v.Failed, v.Tried = vm.ReclaimBalloon, noon.Add(-min) })}, nil, 0, "a pause"},
		"and tried again":            {[]Reclaimable{idler("a", time.Hour, func(v *Reclaimable) { v.Failed, v.Tried = vm.ReclaimBalloon, noon.Add(-11*min) })}, nil, 0, "a balloon"},
		"the filling restarts no wait": {[]Reclaimable{idler("a", 35*min, taken(vm.ReclaimBalloon, 20*min), func(v *Reclaimable) {
			v.IdleSince = v.Tried.Add(20 * time.Second)
		})}, nil, 0, "a pause"},
		"the mildest first, a few at once": {[]Reclaimable{
			idler("a", time.Hour, taken(vm.ReclaimPause, 30*min)), idler("b", time.Hour), idler("c", time.Hour), idler("d", time.Hour), idler("e", time.Hour),
		}, nil, 0, "b balloon, c balloon, d balloon, e balloon"},
	}
	for name, c := range cases {
		u := vm.NodeUsage{At: noon, Memory: 50 * vm.GiB, MemoryOf: 100 * vm.GiB}
		if c.node != nil {
			c.node(&u)
		}
		var last time.Time
		if c.ago > 0 {
			last = noon.Add(-c.ago)
		}
		var got []string
		for _, s := range Reclaim(noon, last, u, c.vms, DefaultReclaimRules) {
			got = append(got, string(s.VM)+" "+string(s.Do))
			if s.Why == "" {
				t.Errorf("%s: no reason for %s", name, got)
			}
		}
		if all := strings.Join(got, ", "); all != c.steps {
			t.Errorf("%s: got %q, want %q", name, all, c.steps)
		}
	}
}

func TestReclaimLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := func(name string) time.Duration {
			return time.Duration(rapid.Int64Range(-3600, 48*3600).Draw(t, name)) * time.Second
		}
		var vms []Reclaimable
		for i := range rapid.IntRange(0, 12).Draw(t, "vms") {
			v := idler(vm.Name(rune('a'+i)), span("idle"))
			if rapid.Bool().Draw(t, "busy") {
				busy(&v)
			}
			v.Rules.Steps = v.Rules.Steps[rapid.IntRange(0, 3).Draw(t, "from"):]
			v.Phase = rapid.SampledFrom(vm.AllPhases.Each()).Draw(t, "phase")
			v.Health = rapid.SampledFrom([]vm.Health{vm.HealthUnknown, vm.Healthy, vm.Unhealthy, vm.Degraded, vm.HealthStarting}).Draw(t, "health")
			v.Wanted = rapid.Bool().Draw(t, "wanted")
			v.Taken = rapid.SampledFrom([]vm.ReclaimDo{"", vm.ReclaimBalloon, vm.ReclaimPause}).Draw(t, "taken")
			v.Tried, v.Since = noon.Add(-span("tried")), noon.Add(-span("since"))
			vms = append(vms, v)
		}
		u := vm.NodeUsage{
			At: noon, MemoryOf: 100, Memory: vm.Bytes(rapid.IntRange(0, 100).Draw(t, "memory")), MemoryWait: rapid.Float64Range(0, 100).Draw(t, "wait"),
		}
		took, seen := 0, map[vm.Name]bool{}
		for _, s := range Reclaim(noon, noon.Add(-span("last")), u, vms, DefaultReclaimRules) {
			i := slices.IndexFunc(vms, func(v Reclaimable) bool { return v.Name == s.VM })
			v := vms[i]
			if seen[s.VM] {
				t.Fatalf("%s takes two steps at once", s.VM)
			}
			seen[s.VM] = true
			if s.Do == vm.ReclaimGiveBack {
				if v.Taken != vm.ReclaimBalloon {
					t.Fatalf("%s gets back what nobody took", s.VM)
				}
				continue
			}
			took++
			asks := slices.ContainsFunc(v.Rules.Steps, func(r vm.ReclaimStep) bool { return r.Do == s.Do })
			switch {
			case !asks:
				t.Fatalf("%s never asked for %s", s.VM, s.Do)
			case !v.Wanted || v.Health != vm.Healthy && v.Health != vm.HealthUnknown && v.Phase == vm.Running:
				t.Fatalf("%s was to be left alone: %+v", s.VM, v)
			case v.Phase != vm.Running && (v.Phase != vm.Paused || v.Taken != vm.ReclaimPause):
				t.Fatalf("%s is %s", s.VM, v.Phase)
			case v.Phase == vm.Running && v.IdleSince.IsZero():
				t.Fatalf("%s is not idle", s.VM)
			case s.Do.Rank() <= v.Taken.Rank():
				t.Fatalf("%s stands on %s and is to %s", s.VM, v.Taken, s.Do)
			}
		}
		if took > reclaimAtOnce {
			t.Fatalf("%d steps at once", took)
		}
	})
}

func TestABalloonLeavesWhatTheGuestNeeds(t *testing.T) {
	for _, c := range []struct {
		memory          vm.Bytes
		keep            int
		available, want vm.Bytes
	}{
		{256 * vm.MiB, 50, 0, 128 * vm.MiB},                                           // it doesn't say
		{256 * vm.MiB, 50, 200 * vm.MiB, 128 * vm.MiB},                                // it needs less than it keeps
		{256 * vm.MiB, 10, 200 * vm.MiB, (56 + 26) * vm.MiB},                          // it uses 56, and keeps a tenth to spare
		{128 * vm.MiB, 10, 60 * vm.MiB, (68 + 24) * vm.MiB},                           // a small one keeps 24
		{128 * vm.MiB, 10, 20 * vm.MiB, 128 * vm.MiB},                                 // it has nothing to spare
		{128 * vm.MiB, 100, 100 * vm.MiB, 128 * vm.MiB},                               //
		{100 * vm.MiB, 33, 99 * vm.MiB, 33 * vm.MiB},                                  //
		{8 * vm.MiB, 10, 0, vm.MiB},                                                   //
		{128 * vm.MiB, 50, 1 << 50, 64 * vm.MiB},                                      // a guest that lies gets what its spec keeps
		{vm.MaxMemory, 10, vm.MaxMemory / 2, vm.MaxMemory / 10 * 6 / vm.MiB * vm.MiB}, //
	} {
		s := vm.Spec{Memory: c.memory, Reclaim: vm.Reclaim{Keep: c.keep}}
		if got := Leaves(s, c.available); got < c.want || got > c.want+vm.MiB {
			t.Errorf("%s keeping %d %% with %s available: %s, want %s", c.memory, c.keep, c.available, got, c.want)
		}
	}
}

// A VM is found on another rung than it was left on: by a person, or by a
// saving that failed.
func TestAVMIsFoundWhereItStands(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, one := range []struct {
		story  string
		was    Reclaimable
		filled bool
		want   Reclaimable
	}{
		{"paused by us", Reclaimable{Phase: vm.Paused}, false, Reclaimable{Phase: vm.Paused, Taken: vm.ReclaimPause}},
		{
			"resumed by a person",
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimPause, Held: at},
			false,
			Reclaimable{Phase: vm.Running},
		},
		{
			"resumed, its balloon still filled",
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimPause, Held: at},
			true,
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimBalloon},
		},
		{
			"its saving failed",
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimSuspend, Held: at},
			false,
			Reclaimable{Phase: vm.Running, Failed: vm.ReclaimSuspend},
		},
		{
			"as it was left",
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimBalloon, Held: at},
			true,
			Reclaimable{Phase: vm.Running, Taken: vm.ReclaimBalloon, Held: at},
		},
	} {
		if got := one.was.Found(one.filled); !reflect.DeepEqual(got, one.want) {
			t.Errorf("%s: %+v, want %+v", one.story, got, one.want)
		}
	}
}
