package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

var (
	bootPolicies      = []policies.BootPolicy{policies.RestartAll, policies.RestartHealthy, policies.BootManual}
	autostartPolicies = []vm.AutostartPolicy{
		vm.AutostartInherit, vm.AutostartAlways, vm.AutostartHealthy, vm.AutostartLastState, vm.AutostartNever,
	}
)

// slept is a VM as the node's last boot, or the daemon's last life, left it.
func slept(phase vm.Phase, intent vm.Intent, last vm.Health) vm.Record {
	r := vm.Record{ID: "0123456789abcdef", Spec: vm.Spec{Name: "web"}.Filled()}
	r.State = vm.State{
		Revision: 7, Phase: phase, Intent: intent, PhaseSince: begin, BootID: "b1", Incarnation: 3,
		Health: last, LastHealth: last, ReadyAt: begin, LaunchedAt: begin, Reason: "as it was",
		LastExit: &vm.Crash{Number: 1, Failure: vm.Failure{Incarnation: 2, At: begin}, Decision: vm.Decision{Do: vm.BackOff, After: time.Minute}},
	}
	if phase == vm.Starting || phase == vm.Preparing {
		r.State.Health, r.State.ReadyAt = vm.HealthStarting, time.Time{}
	}
	if phase == vm.Backoff {
		r.State.Deadline = begin.Add(time.Minute)
	}
	return r
}

// possible says whether a table's record can exist.
func possible(phase vm.Phase, intent vm.Intent) bool {
	switch intent {
	case vm.WantRunning:
		return phase&(vm.Stopped|vm.Removing) == 0
	case vm.WantStopped:
		return phase&(vm.Backoff|vm.Failed|vm.Removing|vm.Preparing|vm.Starting|vm.Running|vm.Paused) == 0
	case vm.WantRemoved:
	}
	return phase&(vm.Removing|vm.Reaping|vm.Killing|vm.Adopting) != 0
}

// TestWokenTable writes testdata/boot.txt: what every record is met with when
// the node has booted anew, by phase, what is wanted, and both policies.
func TestWokenTable(t *testing.T) {
	var out strings.Builder
	out.WriteString("# phase, wanted, how it was when it was last up; then under each policy of the node, by the VM's own:\n" +
		"# the event → the phase, wanted so (q: it waits for its turn)\n")
	for _, phase := range vm.AllPhases.Each() {
		for _, intent := range []vm.Intent{vm.WantStopped, vm.WantRunning, vm.WantRemoved} {
			if !possible(phase, intent) {
				continue
			}
			for _, health := range []vm.Health{vm.Healthy, vm.Unhealthy} {
				fmt.Fprintf(&out, "\n## %s, wanted %s, %s\n", phase, intent, health)
				rows(&out, func(node policies.BootPolicy, own vm.AutostartPolicy) string {
					r := slept(phase, intent, health)
					r.Spec.Autostart.Policy = own
					return met(r, policies.Waking{At: begin.Add(time.Hour), BootID: "b2", NewBoot: true, Policy: node})
				})
			}
		}
	}
	golden(t, "testdata/boot.txt", out.String())
}

// rows writes one line for each answer with who gets it, so that the table stays short.
func rows(out *strings.Builder, answer func(policies.BootPolicy, vm.AutostartPolicy) string) {
	var order []string
	who := map[string][]string{}
	for _, node := range bootPolicies {
		for _, own := range autostartPolicies {
			a := answer(node, own)
			if who[a] == nil {
				order = append(order, a)
			}
			who[a] = append(who[a], string(node)+"/"+string(own))
		}
	}
	for _, a := range order {
		names := strings.Join(who[a], " ")
		if len(order) == 1 {
			names = "all"
		}
		fmt.Fprintf(out, "%s\n    %s\n", a, names)
	}
}

func met(r vm.Record, w policies.Waking) string {
	turn := policies.Woken(r, w)
	next := policies.Next(r, turn).Record.State
	queued := ""
	if next.Queued {
		queued = " q"
	}
	after := ""
	if next.Phase == vm.Reaping && next.After != vm.ThenStop {
		after = ", then " + string(next.After)
	}
	return fmt.Sprintf("%s → %s%s, wanted %s%s: %s", turn.Event, next.Phase, after, next.Intent, queued, next.Reason)
}

// P5: whatever was asked down stays down, in every phase and under every policy.
func TestNoBootBringsUpWhatWasAskedDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := slept(rapid.SampledFrom(vm.AllPhases.Each()).Draw(t, "phase"), vm.WantStopped, vm.Healthy)
		if !possible(r.State.Phase, vm.WantStopped) {
			t.Skip("not a record that can be")
		}
		r.State.AskedDown = true
		r.Spec.Autostart.Policy = rapid.SampledFrom(autostartPolicies).Draw(t, "own")
		w := policies.Waking{
			At: begin.Add(time.Hour), BootID: rapid.SampledFrom([]vm.BootID{"b1", "b2"}).Draw(t, "boot"),
			NewBoot: rapid.Bool().Draw(t, "new"), Policy: rapid.SampledFrom(bootPolicies).Draw(t, "node"),
		}
		next := policies.Next(r, policies.Woken(r, w)).Record.State
		if next.Intent != vm.WantStopped || next.Queued || next.Phase&(vm.Preparing|vm.Backoff) != 0 || !next.AskedDown {
			t.Fatalf("%s became %s wanted %s, queued %v", r.State.Phase, next.Phase, next.Intent, next.Queued)
		}
	})
}

// Where no boot is to be met, a start of the daemon is nothing but Woke, however
// the policies are: P10, and one bootstrap for each boot.
func TestARestartOfTheDaemonIsNoBoot(t *testing.T) {
	for _, phase := range vm.AllPhases.Each() {
		for _, own := range autostartPolicies {
			for _, node := range bootPolicies {
				r := slept(phase, vm.WantRunning, vm.Healthy)
				r.Spec.Autostart.Policy = own
				if turn := policies.Woken(r, policies.Waking{At: begin, BootID: "b1", Policy: node}); turn.Event != vm.Woke {
					t.Errorf("%s under %s/%s is met with %s", phase, node, own, turn.Event)
				}
			}
		}
	}
}

// What was given up before the node went down stays held, also where its
// release is still under way.
func TestABootKeepsWhatWasGivenUpHeld(t *testing.T) {
	for _, node := range bootPolicies {
		for _, phase := range []vm.Phase{vm.Killing, vm.Reaping, vm.Failed} {
			r := slept(phase, vm.WantRunning, vm.Healthy)
			r.State.After = vm.ThenHold
			next := policies.Next(r, policies.Woken(r, policies.Waking{At: begin, BootID: "b2", NewBoot: true, Policy: node})).Record.State
			if next.Phase != vm.Failed && next.After != vm.ThenHold || next.Queued {
				t.Errorf("under %s, %s became %s, then %q", node, phase, next.Phase, next.After)
			}
		}
	}
}

func TestAfterBootHasAReasonForEverything(t *testing.T) { // P4: never silently
	for _, node := range append(bootPolicies, "") {
		for _, own := range autostartPolicies {
			for _, h := range []vm.Health{vm.HealthUnknown, vm.HealthStarting, vm.Healthy, vm.Degraded, vm.Unhealthy} {
				r := slept(vm.Backoff, vm.WantRunning, h)
				r.Spec.Autostart.Policy = own
				if d := policies.AfterBoot(node, r); d.Why == "" || d.Rule == "" || d.Do != vm.Enqueue && d.Do != vm.GiveUp && d.Do != vm.StayDown {
					t.Errorf("%s/%s, %s: %+v", node, own, h, d)
				}
			}
		}
	}
}
