package policies

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// Explanation answers what a person asks of a VM: each field is a sentence,
// or empty where there is nothing to say.
type Explanation struct {
	State  string    // what it is
	Since  time.Time // since when
	Seen   string    // what was seen of it
	Tried  string    // what was tried
	Next   string    // what comes next
	NextAt time.Time // when at the latest; zero where nothing is waited for
	Rule   string    // which rule decided that
	Can    []string  // commands that a person can give now
}

// Explain tells the story of a record. crashes are its newest crash records,
// newest first; none is needed.
func Explain(now time.Time, r vm.Record, crashes []vm.Crash) Explanation {
	s := r.State
	w := phaseWords[s.Phase]
	e := Explanation{
		State:  fmt.Sprintf("%s: %s; wanted %s, health %s", s.Phase, w.is, s.Intent, s.Health),
		Since:  s.PhaseSince,
		Seen:   seen(now, s),
		Tried:  tried(now, r, crashes),
		Next:   w.next,
		NextAt: s.Deadline,
		Rule:   ruleOf(s),
	}
	switch {
	case s.Phase&ending != 0:
		e.Next += ", " + afterwards[s.After]
	case s.Phase == vm.Adopting && s.Intent != vm.WantRunning:
		e.Next = "its VMM is looked for; if it lives, the guest is asked to power off"
	case s.Phase == vm.Backoff && s.Queued:
		e.State = fmt.Sprintf("%s: it waits for its turn after the node's boot; wanted %s", s.Phase, s.Intent)
		e.Next = "it is started when its turn comes: blixard node status"
		w.late = "it is started without waiting any longer"
	case s.Phase == vm.Paused && s.Stalled != "":
		e.State = fmt.Sprintf("%s: its disk can't grow, so its vCPUs stand still; wanted %s, health %s", s.Phase, s.Intent, s.Health)
		e.Next = "it goes on when there is room: blixard node resources"
	case s.Phase&(vm.Paused|vm.Suspending|vm.Suspended) != 0 && s.Reclaimed:
		takenBack(&e, r)
	case s.Phase == vm.Starting && WasReset(s):
		w.late = afterReset(&e, now, r)
	case s.Phase&(vm.Preparing|vm.Starting) != 0 && WasRestored(s):
		w.late = toldRestored(&e, now, r, w.late)
	case s.Phase == vm.Failed && s.LastExit != nil && s.LastExit.Decision.Rule == ruleHold:
		e.State = fmt.Sprintf("%s: its remedies hold it until a person decides; wanted %s, health %s", s.Phase, s.Intent, s.Health)
	case s.Phase == vm.Running && s.Health == vm.Degraded:
		e.Next = "nothing: what is degraded is not healed, a restart follows only where a liveness check has failed as often as it may"
		w.can = append([]string{"show {name}"}, w.can...)
	case s.Phase == vm.Stopped && rested(s):
		e.Next = "nothing: the guest powered itself off, and stays down until it is started"
	}
	explainDeaf(&e, &w, s)
	if s.Phase&(vm.Stopped|vm.Suspended) != 0 && r.Reservation != (vm.Reservation{}) {
		e.State += fmt.Sprintf("; it holds %s of memory and %s of disk of the node's room", showBytes(float64(r.Reservation.Memory)), showBytes(float64(r.Reservation.Disk)))
	}
	if s.Phase == vm.Running {
		e.Next = whileUp(now, r, e.Next)
		w.can = append(slices.Clone(w.can), remembers(now, r)...)
	}
	if w.late != "" {
		e.Next += "; when the time is up, " + w.late
	}
	for _, can := range w.can {
		e.Can = append(e.Can, expandName("blixard vm "+can, r.Spec.Name))
	}
	return e
}

// takenBack tells of a VM that the node itself has stand still.
func takenBack(e *Explanation, r vm.Record) {
	s := r.State
	switch s.Phase { //nolint:exhaustive // of the three that the node brings about
	case vm.Paused:
		e.State = fmt.Sprintf("%s: its vCPUs stand still because the node paused it, as it was idle; wanted %s, health %s", s.Phase, s.Intent, s.Health)
		e.Rule = "reclaim: the VM's own reclaim lets the node pause it"
		if slices.ContainsFunc(r.Spec.Reclaim.Steps, func(step vm.ReclaimStep) bool { return step.Do == vm.ReclaimSuspend }) {
			e.Next += "; where it stays idle, the node suspends it next"
		}
	case vm.Suspended:
		e.Rule = "reclaim: the VM's own reclaim let the node suspend it, as it was idle; the node doesn't bring it back by itself"
	case vm.Suspending:
		e.Rule = "reclaim: the VM's own reclaim lets the node suspend it, as it is idle"
	}
}

type words struct {
	is, next, late string
	can            []string
}

var phaseWords = map[vm.Phase]words{
	vm.Stopped: {
		is: "nothing runs", next: "nothing: it stays down until it is started",
		can: []string{"start {name}", "delete {name}"},
	},
	vm.Preparing: {
		is: "its disks, folder and image are made ready", next: "the VMM is launched", late: "the try counts as failed",
		can: []string{"stop {name}", "wait {name} --for phase=running --timeout 2m"},
	},
	vm.Starting: {
		is: "the VMM runs, the guest has not answered yet", next: "the guest answers", late: "the try counts as failed",
		can: []string{"logs {name} -f", "stop {name}", "stop {name} --force"},
	},
	vm.Running: {
		is: "the guest has answered", next: "nothing: the probes watch it, and its end is met by the restart policy",
		can: []string{"console {name}", "logs {name} -f", "restart {name}", "stop {name}"},
	},
	vm.Paused: {
		is: "its vCPUs stand still because a person asked for it", next: "nothing until it is resumed",
		can: []string{"resume {name}", "stop {name}", "stop {name} --force"},
	},
	vm.Suspending: {
		is: "its guest stands still and is written to the disk", next: "its VMM is ended", late: "the guest goes on",
		can: []string{"wait {name} --for phase=suspended --timeout 2m", "stop {name} --force"},
	},
	vm.Suspended: {
		is: "its guest is saved on the disk, and nothing runs", next: "nothing until it is resumed or started",
		can: []string{"resume {name}", "stop {name} --force", "delete {name}"},
	},
	vm.Stopping: {
		is: "the guest was asked to power off", next: "the guest powers off", late: "the VMM is killed",
		can: []string{"logs {name} -f", "stop {name} --force"},
	},
	vm.Killing: {
		is: "the VMM was killed", next: "its end is waited for", late: "it is killed again",
		can: []string{"logs {name}", "crashes {name}"},
	},
	vm.Reaping: {
		is: "the VMM is gone; its sockets and links are released", next: "the release ends", late: "it is repeated",
		can: []string{"logs {name}", "crashes {name}"},
	},
	vm.Backoff: {
		is: "it waits for the next try", next: "it is started again",
		can: []string{"start {name}", forgives, "stop {name}", "logs {name}", "crashes {name}"},
	},
	vm.Failed: {
		is: "it was given up and is held", next: "nothing until it is reset or gets a new spec",
		can: []string{"crashes {name}", "logs {name}", forgives, "stop {name}", "delete {name}"},
	},
	vm.Adopting: {
		is:   "the daemon woke up and looks whether its VMM still lives",
		next: "it is adopted, or its end is met by the restart policy", late: "it is looked for again",
		can: []string{"wait {name} --for phase=running --timeout 30s", "stop {name}", "stop {name} --force"},
	},
	vm.Removing: {
		is: "its folder, its disks and its record are being deleted", next: "it is gone", late: "the deletion is repeated",
		can: []string{"list"},
	},
}

var afterwards = map[vm.After]string{
	vm.ThenStop:    "then it is stopped",
	vm.ThenRestart: "then it is started again",
	vm.ThenBackoff: "then it waits for the next try",
	vm.ThenHold:    "then it is held as failed",
	vm.ThenRemove:  "then it is deleted",
	vm.ThenSuspend: "then it is suspended",
}

// rested says that the guest, not a person, ended the last incarnation for good.
func rested(s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Failure.Incarnation == s.Incarnation && s.LastExit.Decision.Rule == rulePoweroff
}

func seen(now time.Time, s vm.State) string {
	var out []string
	inReason := s.LastExit != nil && strings.HasPrefix(s.Reason, s.LastExit.Failure.Error())
	said := inReason && stands(s) || s.Reason == awaitsGuest && s.Phase == vm.Starting // by the rule, or the state
	if s.Reason != "" && !said {
		out = append(out, s.Reason)
	}
	if s.Phase&(vm.Starting|vm.Running) != 0 && s.HealthWhy != "" {
		out = append(out, fmt.Sprintf("%s for %s: %s", s.Health, age(now, s.HealthSince), s.HealthWhy))
	}
	if s.Phase&up != 0 && !s.LaunchedAt.IsZero() {
		out = append(out, "up for "+age(now, s.LaunchedAt))
	}
	if good := seenGood(now, s); good != "" {
		out = append(out, good)
	}
	if c := s.LastExit; c != nil {
		what := "end"
		if c.Decision.Remedy == vm.RemedyReset {
			what = "reset"
		}
		last := fmt.Sprintf("its last %s was %s ago, after %s up", what, age(now, c.Failure.At), lasted(c.Uptime))
		if said || !inReason {
			last += ": " + c.Failure.Error()
		}
		out = append(out, last)
	}
	return strings.Join(out, "; ")
}

func tried(now time.Time, r vm.Record, crashes []vm.Crash) string {
	if r.State.Restarts == 0 && len(crashes) == 0 && r.State.LastExit == nil {
		return ""
	}
	b := r.Spec.Restart.Budget
	restarts, charged, left := Budget(now, r.Spec.Restart, r.State)
	out := fmt.Sprintf("%s; %s charged in %s, the budget allows %d, %d left", plural(restarts, "restart"),
		plural(charged, "failure"), vm.Span(b.Window), b.Attempts, left)
	if ladder := usedUp(now, r); ladder != "" {
		out += "; its remedies: " + ladder
	}
	const most = 5
	for i, c := range crashes[:min(len(crashes), most)] {
		join := ", "
		if i == 0 {
			join = "; newest first: "
		}
		out += fmt.Sprintf("%s#%d %s %s ago (%s)", join, c.Number, c.Failure.Cause, age(now, c.Failure.At), Verdict(c.Decision))
	}
	return out
}

// ruleOf names what the next step follows from: the last decision where it
// still stands, else the lifecycle's deadline, else the intent.
func ruleOf(s vm.State) string {
	switch {
	case stands(s):
		return s.LastExit.Decision.Rule + ": " + s.LastExit.Decision.Why
	case s.Phase == vm.Paused && s.Stalled == "":
		return "pause: a person paused it"
	case !s.Deadline.IsZero():
		return fmt.Sprintf("deadline: phase %s may last %s", s.Phase, vm.Span(s.Deadline.Sub(s.PhaseSince).Round(time.Millisecond)))
	}
	return "intent: a person wants it " + s.Intent.String()
}

// stands says whether the last decision is still what is being carried out: an
// ask that came after it replaces it.
func stands(s vm.State) bool {
	if s.LastExit == nil || s.LastExit.Failure.Incarnation != s.Incarnation {
		return false
	}
	do := s.LastExit.Decision.Do
	if WasReset(s) {
		return s.Phase == vm.Starting
	}
	switch s.Phase {
	case vm.Stopping:
		return s.LastExit.Decision.Remedy == vm.RemedyRestart && (s.After == vm.ThenRestart || s.After == vm.ThenBackoff)
	case vm.Killing, vm.Reaping:
		return do == vm.RestartNow && s.After == vm.ThenRestart || do == vm.BackOff && s.After == vm.ThenBackoff ||
			do == vm.GiveUp && s.After == vm.ThenHold || rested(s)
	case vm.Backoff:
		return do == vm.BackOff || do == vm.Enqueue
	case vm.Failed:
		return do == vm.GiveUp
	}
	return s.Phase == vm.Stopped && rested(s)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// lasted is a time for the eye: the longer, the rounder.
func lasted(d time.Duration) string {
	switch {
	case d >= time.Minute:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	}
	return vm.Span(d.Round(time.Millisecond))
}

// age is never negative: a clock that was set back makes things now.
func age(now, then time.Time) string { return vm.Span(max(0, now.Sub(then)).Round(time.Second)) }
