package chaos

import (
	"testing"
	"time"

	"github.com/blixard/blixard/test/node"
)

// mostResident is what a daemon of one VM may hold, whatever an agent sends.
const mostResident = 200 << 20

// What an agent says is a stranger's word: late, wrong, endless or whole but
// far too long, it never passes for an answer and never costs the daemon more
// than a bounded buffer. The guest is healed, and its neighbour notices nothing.
func TestAnAgentThatLiesIsHealed(t *testing.T) {
	t.Parallel()
	for _, fault := range quick(1, []string{"late-agent", "lying-agent", "huge-agent", "flood-agent"}) {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			spec := watched("liar", "")
			spec.Health[0].Failures = 2
			vm := w.up(spec)
			w.hurt("liar", "fault", fault)
			crash, _ := w.healed(vm, "health-failed", "guest-agent")
			if rss := node.Resident(w.PID()); rss > mostResident {
				t.Errorf("the daemon has %d MiB resident", rss>>20)
			}
			t.Logf("%s: %s", fault, crash.GetEvidence())
		})
	}
}

// The protocol has a way to come back into step, so noise around a right answer
// is no reason to end a guest; a command gets an error and no invented result.
func TestAnAgentAmidNoiseIsHeard(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	vm := w.up(watched("noisy", ""))
	w.hurt("noisy", "fault", "garbage-agent")
	w.eventually("a command is refused for the noise", boot, func() bool {
		_, err := w.Inside(w.ctx, "noisy", "echo", "well")
		if err != nil {
			w.oneLine(err.Error())
		}
		return err != nil
	})
	began := time.Now()
	w.eventually("some rounds later", soon, func() bool { return time.Since(began) > 4*time.Second })
	w.same(vm, "amid noise")
}
