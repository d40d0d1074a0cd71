package vm

import "time"

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
)

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
