package vm

import (
	"fmt"
	"slices"
	"time"
)

// ReclaimStep is a rung of the ladder on which an idle VM gives back what it holds.
type ReclaimStep struct {
	Do    ReclaimDo     `json:"do"`
	After time.Duration `json:"after"` // idle for this long
}

// ReclaimDo is what a rung does.
type ReclaimDo string

// The rungs, from the mildest on.
const (
	ReclaimBalloon ReclaimDo = "balloon" // the guest gives memory back, down to Reclaim.Keep percent
	ReclaimPause   ReclaimDo = "pause"   // its vCPUs stand still
	ReclaimSuspend ReclaimDo = "suspend" // its memory goes to the disk

	// ReclaimGiveBack undoes a balloon; no ladder names it.
	ReclaimGiveBack ReclaimDo = "give-back"
)

// Rank orders the rungs from the mildest on; 0: it is none.
func (d ReclaimDo) Rank() int {
	switch d {
	case ReclaimBalloon:
		return 1
	case ReclaimPause:
		return 2
	case ReclaimSuspend:
		return 3
	case ReclaimGiveBack:
	}
	return 0
}

// ReclaimNever is the word for a ladder without rungs.
const ReclaimNever = "never"

// Reclaim says what the node may take back of the VM while it is idle; without
// steps nothing, ever. Under memory pressure the idlest VM takes its next step
// at once.
type Reclaim struct {
	Steps []ReclaimStep `json:"steps,omitempty"` // milder ones first
	Keep  int           `json:"keep"`            // percent of its memory that a balloon leaves
	Idle  Idle          `json:"idle"`
}

// Idle is the measure of idleness: below all of these.
type Idle struct {
	CPU     float64 `json:"cpu"`     // percent of one processor, by the vCPUs
	Packets float64 `json:"packets"` // a second, both ways
	IO      Bytes   `json:"io"`      // bytes a second, read and written
}

const (
	defaultKeep        = 50 // half of a guest's memory is seldom in use while it idles
	defaultIdleCPU     = 2  // an idle Linux guest takes 0.3 % of a core, under TCG too
	defaultIdlePackets = 10 // neighbours' broadcasts reach an idle guest too
	defaultIdleIO      = 16 * KiB
)

func (r Reclaim) filled() Reclaim {
	r.Steps = slices.Clone(r.Steps)
	if len(r.Steps) == 0 {
		return r
	}
	fill(&r.Keep, defaultKeep)
	fill(&r.Idle.CPU, defaultIdleCPU)
	fill(&r.Idle.Packets, defaultIdlePackets)
	fill(&r.Idle.IO, defaultIdleIO)
	return r
}

// MinKeep is the least percent of its memory that a balloon leaves to a guest.
const MinKeep = 10

func (s Spec) checkReclaim() *Refusal {
	r := s.Reclaim
	if len(r.Steps) == 0 {
		if r.Keep != 0 || r.Idle != (Idle{}) {
			return invalid("reclaim: {steps: [{do: balloon, after: 10m}]}, or reclaim: never", "reclaim has no steps, so keep and idle mean nothing")
		}
		return nil
	}
	if bad := firstRefusal(
		between("reclaim.keep", r.Keep, MinKeep, 100),
		between("reclaim.idle.cpu", r.Idle.CPU, 0.01, MaxQuota),
		between("reclaim.idle.packets", r.Idle.Packets, 0.01, 1e9),
		between("reclaim.idle.io", r.Idle.IO, 1, MaxMemory),
	); bad != nil {
		return bad
	}
	for i, step := range r.Steps {
		f := fmt.Sprintf("reclaim.steps[%d]", i)
		if bad := firstRefusal(
			oneOf(f+".do", step.Do, ReclaimBalloon, ReclaimPause, ReclaimSuspend),
			between(f+".after", step.After, minWait, maxSpan),
		); bad != nil {
			return bad
		}
		if s.Boot.Built() && step.Do != ReclaimPause {
			return invalid("do: pause", "%s.do is %s, which takes a VMM that Blixard made itself: %s is a runner's VM", f, step.Do, s.Name)
		}
		if i > 0 && (r.Steps[i-1].Do.Rank() >= step.Do.Rank() || r.Steps[i-1].After > step.After) {
			return invalid("balloon before pause before suspend, each after the same time or longer", "%s (%s after %s) is no harder and later than the step before it", f, step.Do, Span(step.After))
		}
	}
	return nil
}
