package gateway

import (
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhatWaitsIsToldApartFromWhatRuns(t *testing.T) {
	spec := vm.Spec{Name: "web"}.Filled()
	rec := vm.Record{ID: "a", Spec: spec, State: vm.State{Phase: vm.Running}}
	spec.Memory, spec.Resources.CPUQuota, spec.Autostart.Priority = 256*vm.MiB, 50, 7
	spec.Health = []vm.Check{{Type: vm.CheckConsole, Send: "secret"}}
	spec.Remedies, spec.Dump.On = []vm.Rung{{Do: vm.RemedyKill}}, []vm.Cause{vm.CauseGuestPanic}
	spec.Reclaim.Steps = []vm.ReclaimStep{{Do: vm.ReclaimPause, After: time.Hour}}
	rec = policies.WithSpec(rec, spec.Filled(), rec.Reservation)
	out := messages.VMToProto(rec)
	pending(out, rec)
	if got := vm.Bytes(out.GetRuns().GetMemoryBytes()); got != 128*vm.MiB || !out.GetSpecPending() {
		t.Errorf("it runs with %s, pending %v", got, out.GetSpecPending())
	}
	if want := []string{"memory: 128MiB -> 256MiB", "resources.cpuQuota: 0% -> 50%"}; !slices.Equal(out.GetWaits(), want) {
		t.Errorf("what waits is %q, want %q", out.GetWaits(), want)
	}
}

func TestWhatCountsAtOnceIsToldApartFromWhatWaits(t *testing.T) {
	was := vm.Spec{Name: "web"}.Filled()
	is := was
	is.Memory, is.Dump.Core, is.Dump.On = 256*vm.MiB, true, []vm.Cause{vm.CauseGuestPanic}
	is.Health, is.Remedies = []vm.Check{{Type: vm.CheckVMM}}, []vm.Rung{{Do: vm.RemedyKill}}
	is = is.Filled()
	between := messages.SpecToProto(atOnce(was, is))
	now := fields(differences(messages.SpecToProto(was), between))
	later := fields(differences(between, messages.SpecToProto(is)))
	if !slices.Equal(now, []string{"dump.format", "dump.on", "dump.timeout", "health", "remedies"}) || !slices.Equal(later, []string{"dump.core", "memory"}) {
		t.Errorf("at once %q, later %q", now, later)
	}
}

func TestApplyTellsWhetherItForgives(t *testing.T) {
	for story, with := range map[string]func(*vm.State){
		"nothing":         func(*vm.State) {},
		"a failure":       func(s *vm.State) { s.Ledger = []time.Time{someTime} },
		"a used remedy":   func(s *vm.State) { s.Rungs = []int{1} },
		"what needs none": func(s *vm.State) { s.Crashes, s.Restarts = 3, 3 },
	} {
		r := record("web", vm.Running)
		r.Spec.Remedies = []vm.Rung{{Do: vm.RemedyReset}}
		r.Spec = r.Spec.Filled()
		with(&r.State)
		_, client := socket(t, newWorld(r).door(t), &messages.Peer{Caller: messages.Caller{UID: 0}})
		wanted := r.Spec
		wanted.Memory, wanted.Remedies = 256*vm.MiB, []vm.Rung{{Do: vm.RemedyKill}}
		res, err := client.Apply(t.Context(), connect.NewRequest(&blixardv1.ApplyRequest{Spec: messages.SpecToProto(wanted), DryRun: true}))
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.HasPrefix(story, "a "); res.Msg.GetForgives() != want || !res.Msg.GetWaits() {
			t.Errorf("%s: forgives %v, waits %v", story, res.Msg.GetForgives(), res.Msg.GetWaits())
		}
		if !slices.Equal(res.Msg.GetNow(), []string{"remedies"}) || !slices.Equal(res.Msg.GetLater(), []string{"memory"}) {
			t.Errorf("%s: now %q, later %q", story, res.Msg.GetNow(), res.Msg.GetLater())
		}
	}
}
