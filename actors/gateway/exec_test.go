package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// Whoever asks for a command learns whether the guest was slow, has no agent, or
// refused: scripts tell them apart by the code.
func TestACommandThatDidNotRunSaysWhy(t *testing.T) {
	with, without := record("web", vm.Running), record("db", vm.Running)
	with.Spec.Health = []vm.Check{{Type: vm.CheckAgent}}
	without.Spec.Health = []vm.Check{{Type: vm.CheckConsole, Healthy: "login:"}}
	notFound := &vm.Refusal{Code: vm.Unavailable, Why: "\"lss\" did not run in web: not found"}
	for name, one := range map[string]struct {
		rec  vm.Record
		late bool
		err  error
		code vm.Code
		says string
	}{
		"slow":                   {with, true, context.DeadlineExceeded, vm.TimedOut, "did not finish the command within 30s"},
		"slow, told by its turn": {with, true, notFound, vm.TimedOut, "did not finish the command within 30s"},
		"slow, told by the node": {with, false, &vm.Refusal{Code: vm.TimedOut}, vm.TimedOut, "did not finish"},
		"no agent answers":       {without, true, context.DeadlineExceeded, vm.TimedOut, "no check of it says that there is one"},
		"no agent at all":        {without, false, errors.New("no such socket"), vm.Unavailable, "no guest agent can be reached in db: no such socket"},
		"no such command":        {with, false, notFound, vm.Unavailable, "lss"},
		"it is stopped":          {with, false, &vm.Refusal{Code: vm.WrongPhase, Why: "stopped"}, vm.WrongPhase, "stopped"},
	} {
		r := messages.RefusalOf(notRun(one.rec, 30*time.Second, one.late, one.err))
		if r.Code != one.code || !strings.Contains(r.Why, one.says) {
			t.Errorf("%s: got %s: %s", name, r.Code, r.Why)
		}
	}
	if err := notRun(with, time.Second, false, context.Canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("who went away is told %v", err)
	}
}

// A guest that dies under a command may have run it: nobody is told that it didn't.
func TestACommandUnderWhichTheGuestEndedMayHaveRun(t *testing.T) {
	before := record("web", vm.Running)
	for phase, want := range map[vm.Phase]bool{
		vm.Running: false, vm.Paused: false, vm.Adopting: false, vm.Stopping: true, vm.Killing: true, vm.Reaping: true, vm.Backoff: true, vm.Failed: true, vm.Stopped: true, vm.Starting: true,
	} {
		now := before
		now.State.Phase = phase
		if got := ended(before, now); got != want {
			t.Errorf("phase %s: ended %t", phase, got)
		}
	}
	again := before
	again.State.Incarnation++
	if !ended(before, again) {
		t.Error("the next incarnation runs, and the command's guest counts as alive")
	}
	if r := endedMeanwhile(again); r.Why != "the command may have run: the guest of web ended meanwhile (phase running)" || r.Try != "blixard vm crashes web" {
		t.Error(r)
	}
}
