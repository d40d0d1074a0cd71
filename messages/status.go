package messages

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// VMToProto is the record as status shows it. What is left of the crash budget
// is a policy's answer: the gateway adds inWindow and remaining.
func VMToProto(r vm.Record) *blixardv1.VM {
	s := r.State
	out := &blixardv1.VM{
		Name: Text(string(r.Spec.Name)), Uid: Text(string(r.ID)), Intent: s.Intent.String(), Phase: s.Phase.String(),
		Reason: Text(s.Reason), Health: s.Health.String(), Incarnation: uint64(s.Incarnation), Revision: uint64(s.Revision),
		Restarts: &blixardv1.Restarts{
			Count: s.Restarts, Budget: int32(r.Spec.Restart.Budget.Attempts), Window: durationpb.New(r.Spec.Restart.Budget.Window),
		},
		Reservation: ReservationToProto(r.Holds()),
		Spec:        SpecToProto(r.Spec), PhaseSince: Stamp(s.PhaseSince), Deadline: Stamp(s.Deadline), ReadyAt: Stamp(s.ReadyAt),
		HealthSince: Stamp(s.HealthSince), HealthWhy: Text(s.HealthWhy), CreatedAt: Stamp(s.CreatedAt), Crashes: s.Crashes,
		Probes: probes(r), Queued: s.Queued && s.Phase == vm.Backoff, Stalled: Text(s.Stalled), SpecPending: s.Pending,
	}
	out.Saved, out.Good = savedState(s.Saved), savedState(s.Good)
	if p := s.Process; p != nil {
		out.Launcher, out.Unit, out.StartedAt = p.Launcher, Text(p.Unit), Stamp(s.LaunchedAt)
		if s.Phase&(vm.Live|vm.Killing|vm.Adopting) != 0 { // elsewhere the record still names one that is gone
			pid := int32(p.PID)
			out.Pid = &pid
		}
	}
	if s.Phase == vm.Backoff {
		out.Restarts.NextRetryAt = out.GetDeadline()
	}
	if e := s.LastExit; e != nil {
		out.Restarts.Delay = durationpb.New(e.Decision.After)
		out.LastExit = lastExit(*e)
	}
	return out
}

func savedState(s *vm.SavedState) *blixardv1.SavedState {
	if s == nil {
		return nil
	}
	return &blixardv1.SavedState{Incarnation: uint64(s.Incarnation), At: Stamp(s.At), Bytes: int64(s.Bytes)}
}

// probes shows each check, and what it said last of this incarnation.
func probes(r vm.Record) []*blixardv1.Probe {
	var out []*blixardv1.Probe
	for _, c := range r.Spec.Health {
		p := &blixardv1.Probe{
			Name: Text(c.Name), Type: string(c.Type), Role: string(c.Role), Health: vm.HealthUnknown.String(),
			Interval: durationpb.New(c.Interval), Timeout: durationpb.New(c.Timeout), Failures: int32(c.Failures), Successes: int32(c.Successes),
		}
		for _, was := range r.State.Probes {
			if was.Check == c.Name {
				p.Health, p.Why, p.Since = was.Health.String(), Text(was.Why), Stamp(was.Since)
				p.Streak, p.At = int32(was.Streak), Stamp(was.At)
			}
		}
		out = append(out, p)
	}
	return out
}

func lastExit(c vm.Crash) *blixardv1.LastExit {
	out := &blixardv1.LastExit{
		Cause: string(c.Failure.Cause), Evidence: Text(c.Failure.Evidence), At: Stamp(c.Failure.At), Charged: c.Decision.Charged,
		Incarnation: uint64(c.Failure.Incarnation), Crash: c.Number, Decision: decision(c.Decision),
		Confidence: string(c.Failure.Confidence),
	}
	out.ExitCode, out.Signal = exit(c.Failure.Exit)
	out.Result, out.MemoryPeakBytes, out.CpuTime = accounts(c.Failure.Exit)
	return out
}

// accounts is what a service manager told of the VMM's end, where one did.
func accounts(e *vm.Exit) (result string, memoryPeak int64, cpu *durationpb.Duration) {
	if e == nil {
		return "", 0, nil
	}
	if e.CPU != 0 {
		cpu = durationpb.New(e.CPU)
	}
	return Text(e.Result), int64(e.MemoryPeak), cpu
}

// exit keeps "exited with 0" and "nobody knows" apart.
func exit(e *vm.Exit) (code *int32, signal int32) {
	if e == nil || !e.Known {
		return nil, 0
	}
	if e.Signal != 0 {
		return nil, int32(e.Signal)
	}
	c := int32(e.Code)
	return &c, 0
}

func decision(d vm.Decision) *blixardv1.Decision {
	if d.Do == "" {
		return nil
	}
	return &blixardv1.Decision{Do: string(d.Do), After: durationpb.New(d.After), Charged: d.Charged, Rule: Text(d.Rule), Why: Text(d.Why), Remedy: string(d.Remedy)}
}

// CrashToProto is one death.
func CrashToProto(c vm.Crash) *blixardv1.Crash {
	out := &blixardv1.Crash{
		Number: c.Number, Incarnation: uint64(c.Failure.Incarnation), Cause: string(c.Failure.Cause),
		Evidence: Text(c.Failure.Evidence), At: Stamp(c.Failure.At), Ready: c.Failure.Ready,
		Uptime: durationpb.New(c.Uptime), Decision: decision(c.Decision), Confidence: string(c.Failure.Confidence),
	}
	out.ExitCode, out.Signal = exit(c.Failure.Exit)
	out.Result, out.MemoryPeakBytes, out.CpuTime = accounts(c.Failure.Exit)
	return out
}

// EventToProto is one line of the journal.
func EventToProto(e vm.Entry) *blixardv1.Event {
	out := &blixardv1.Event{
		Sequence: e.Sequence, At: Stamp(e.At), Vm: Text(string(e.Name)), Uid: Text(string(e.VM)), Kind: Text(e.Kind),
		From: e.From.String(), To: e.To.String(), Incarnation: uint64(e.Incarnation), Revision: uint64(e.Revision),
		Cause: string(e.Cause), Decision: string(e.Decision), Why: Text(e.Why), By: Text(e.By),
	}
	if e.Delay != 0 {
		out.Delay = durationpb.New(e.Delay)
	}
	return out
}

// Text makes valid UTF-8 of what may come from a guest: one stray byte must not
// make a whole list impossible to encode (P13, P15).
func Text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Stamp is absent for the zero time, and for one that RFC 3339 can't write.
func Stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	if p := timestamppb.New(t); p.IsValid() {
		return p
	}
	return nil
}
