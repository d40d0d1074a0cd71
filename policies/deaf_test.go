package policies_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// TestExplainADeafVMM writes testdata/explain-deaf.txt: what a person reads of a
// VM whose control socket somebody deleted.
func TestExplainADeafVMM(t *testing.T) {
	why := policies.DeafWhy("/run/blixard/vm/web/qmp.sock")
	var out strings.Builder
	for _, e := range []explained{
		{name: "running", change: func(r *vm.Record) {
			r.State.Health, r.State.HealthWhy = policies.DeafHealth(vm.Healthy, "guest-agent: answers", why)
			r.State.HealthSince = begin.Add(-20 * time.Second)
		}},
		{name: "running, and its agent is in doubt", change: func(r *vm.Record) {
			r.State.Health, r.State.HealthWhy = policies.DeafHealth(vm.Degraded, "guest-agent: 2 of 3 failures in a row: no answer in 1s", why)
			r.State.HealthSince = begin.Add(-20 * time.Second)
		}},
		{name: "paused", change: enter(vm.Paused, 0, "paused by uid=0 cli")},
		{name: "stopping", change: func(r *vm.Record) {
			enter(vm.Stopping, 30*time.Second, "stopped by uid=0 cli")(r)
			r.State.Intent = vm.WantStopped
		}},
	} {
		r, _ := lived(begin)
		e.change(&r)
		r.State.Deaf = why
		x := policies.Explain(begin, r, nil)
		fmt.Fprintf(&out, "## %s\nstate  %s\nseen   %s\nnext   %s\ncan    %s\n\n", e.name, x.State, x.Seen, x.Next, strings.Join(x.Can, "\n       "))
	}
	golden(t, "testdata/explain-deaf.txt", out.String())
}

// What a VMM can't be told is refused; what needs no word of it is not.
func TestADeafVMMIsNotToldWhatItCantHear(t *testing.T) {
	for e, refused := range map[vm.Event]bool{
		vm.PauseAsked: true, vm.SuspendAsked: true,
		vm.ResumeAsked: false, vm.StopAsked: false, vm.RestartAsked: false, vm.KillAsked: false, vm.ResetAsked: false, vm.StartAsked: false,
	} {
		r, _ := lived(begin)
		r.State.Deaf = policies.DeafWhy("/run/q")
		out := policies.Next(r, policies.Turn{Event: e, At: begin})
		if got := out.Refusal != nil; got != refused {
			t.Errorf("%s of a running one: refused %v", e, out.Refusal)
		}
		if refused && out.Refusal != nil && !strings.Contains(out.Refusal.Try, "vm restart web") {
			t.Errorf("%s: it doesn't help: %v", e, out.Refusal)
		}
	}
	r, _ := lived(begin)
	r.State.Deaf, r.State.Phase = policies.DeafWhy("/run/q"), vm.Paused
	if out := policies.Next(r, policies.Turn{Event: vm.ResumeAsked, At: begin}); out.Refusal == nil {
		t.Error("a paused one is said to run on")
	}
}

// The death of a VMM that nobody listened to says so, and is no surer than what
// was found out.
func TestWhatADeafVMMDiedOf(t *testing.T) {
	gone := vm.Failure{Cause: vm.CauseVMMCrash, Confidence: vm.Guessed, Evidence: "the VMM was killed by signal 9 (KILL)", Exit: &vm.Exit{Known: true, Signal: 9}}
	off := vm.Failure{Cause: vm.CauseGuestPoweroff, Confidence: vm.Certain, Evidence: "the guest powered itself off"}
	ended := vm.Failure{Cause: vm.CauseOperator, Confidence: vm.Likely, Evidence: "somebody on the host told the VMM to quit", Exit: &vm.Exit{Known: true}}
	for story, one := range map[string]struct {
		f     vm.Failure
		asked bool
		cause vm.Cause
		sure  vm.Confidence
		says  string
	}{
		"killed":                      {gone, false, vm.CauseVMMCrash, vm.Guessed, "nobody could hear"},
		"killed while it was to end":  {gone, true, vm.CauseVMMCrash, vm.Guessed, "nobody could hear"},
		"powered off":                 {off, false, vm.CauseGuestPoweroff, vm.Likely, "nobody could hear"},
		"ended by somebody":           {ended, false, vm.CauseOperator, vm.Likely, "nobody could hear"},
		"ended by us":                 {ended, true, vm.CauseUs, vm.Certain, "SIGTERM"},
		"ended, and nobody knows how": {vm.Failure{Exit: &vm.Exit{}}, true, vm.CauseUs, vm.Certain, "SIGTERM"},
	} {
		got := policies.Unheard(one.f, one.asked)
		if got.Cause != one.cause || got.Confidence != one.sure || !strings.Contains(got.Evidence, one.says) {
			t.Errorf("%s: %s (%s)", story, got.Error(), got.Confidence)
		}
	}
}
