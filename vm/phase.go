package vm

import "strings"

// Phase is where the state machine of one VM stands. A set of phases is their
// bitwise or; a record holds exactly one.
type Phase uint16

// The phases, in the order in which a life goes through them.
const (
	Stopped    Phase = 1 << iota // nothing runs and nothing is held
	Preparing                    // disks, folders and image are made ready, then the VMM is launched
	Starting                     // the VMM is launched; the guest has not answered yet
	Running                      // the guest has answered (or the VMM, where no check is set)
	Paused                       // the vCPUs stand still because a person asked for it, or a disk can't grow (State.Stalled)
	Suspending                   // the guest is being saved to the disk
	Stopping                     // the guest was asked to power off
	Killing                      // the VMM was killed; waiting for its end
	Reaping                      // the VMM is gone; its run actor, sockets and links are being released
	Backoff                      // waits for the next try
	Failed                       // given up: held until a reset or a new spec
	Adopting                     // we woke up and look whether the VMM still lives
	Suspended                    // saved: nothing runs and nothing is held; the next start loads it
	Removing                     // the folder and the record are being deleted

	phasesEnd
)

// AllPhases is the set of every phase.
const AllPhases = phasesEnd - 1

// AtRest is the set of the phases that own nothing of the host (P7).
const AtRest = Stopped | Backoff | Failed | Suspended

// Live is the set of the phases in which a VMM is there to be watched and talked to.
const Live = Starting | Running | Paused | Suspending | Stopping

var phaseNames = map[Phase]string{
	Stopped: "stopped", Preparing: "preparing", Starting: "starting", Running: "running", Paused: "paused",
	Stopping: "stopping", Killing: "killing", Reaping: "reaping", Backoff: "backoff", Failed: "failed",
	Adopting: "adopting", Removing: "removing", Suspending: "suspending", Suspended: "suspended",
}

// Each returns the phases of a set, in order.
func (p Phase) Each() []Phase {
	var out []Phase
	for one := Stopped; one < phasesEnd; one <<= 1 {
		if p&one != 0 {
			out = append(out, one)
		}
	}
	return out
}

// String is the name of the contract (lower case); a set's names are joined by "|".
func (p Phase) String() string {
	if s, ok := phaseNames[p]; ok {
		return s
	}
	var names []string
	for _, one := range p.Each() {
		names = append(names, phaseNames[one])
	}
	return strings.Join(names, "|")
}

// MarshalText writes the name, so that a stored record outlives a new phase in the list.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the name.
func (p *Phase) UnmarshalText(b []byte) error { return parseText(phaseNames, "phase", b, p) }

// Intent is what people asked for; only they change it.
type Intent uint8

// The intents.
const (
	WantStopped Intent = iota
	WantRunning
	WantRemoved
	WantSuspended
)

var intentNames = map[Intent]string{WantStopped: "stopped", WantRunning: "running", WantRemoved: "removed", WantSuspended: "suspended"}

// String is the name of the contract.
func (i Intent) String() string { return intentNames[i] }

// MarshalText writes the name.
func (i Intent) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the name.
func (i *Intent) UnmarshalText(b []byte) error { return parseText(intentNames, "intent", b, i) }

// Health is what the probes say of the guest.
type Health uint8

// The healths.
const (
	HealthUnknown Health = iota
	HealthStarting
	Healthy
	Degraded
	Unhealthy
)

var healthNames = map[Health]string{
	HealthUnknown: "unknown", HealthStarting: "starting", Healthy: "healthy", Degraded: "degraded", Unhealthy: "unhealthy",
}

// String is the name of the contract.
func (h Health) String() string { return healthNames[h] }

// MarshalText writes the name.
func (h Health) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads the name.
func (h *Health) UnmarshalText(b []byte) error { return parseText(healthNames, "health", b, h) }
