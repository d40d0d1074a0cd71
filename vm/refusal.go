package vm

// Code is the kind of a refusal, for scripts and exit codes.
type Code string

// The codes.
const (
	Invalid     Code = "invalid"     // the request can't be understood or is out of bounds
	NotFound    Code = "not-found"   // no such VM, crash or actor
	Exists      Code = "exists"      // the name is taken
	WrongPhase  Code = "wrong-phase" // not in this phase
	Denied      Code = "denied"      // the caller's role is too low
	NoRoom      Code = "no-room"     // admission
	Unavailable Code = "unavailable" // the daemon can't do it now
	TimedOut    Code = "timed-out"   // waited as long as was asked
	Internal    Code = "internal"    // a bug of ours
)

// Refusal is the only error that people see: what was refused and why, with
// the numbers, and what to try.
type Refusal struct {
	Code Code   `json:"code"`
	Why  string `json:"why"`
	Try  string `json:"try,omitempty"`
}

// Error is one line.
func (r *Refusal) Error() string {
	if r.Try == "" {
		return r.Why
	}
	return r.Why + "; try: " + r.Try
}
