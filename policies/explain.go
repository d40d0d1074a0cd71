package policies

import (
	"fmt"
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
	case s.Phase == vm.Stopped && rested(s):
		e.Next = "nothing: it ended by itself and stays down until it is started"
	}
	for _, can := range w.can {
		e.Can = append(e.Can, expandName("blixard vm "+can, r.Spec.Name))
	}
	return e
}

type words struct {
	is, next string
	can      []string
}

var phaseWords = map[vm.Phase]words{
	vm.Stopped: {
		"nothing runs and nothing is held", "nothing: it was asked down and stays down until it is started",
		[]string{"start {name}", "delete {name}"},
	},
	vm.Preparing: {
		"its disks, folder and image are made ready", "the VMM is launched; when the time is up, the try counts as failed",
		[]string{"stop {name}", "wait {name} --for phase=running --timeout 2m"},
	},
	vm.Starting: {
		"the VMM runs, the guest has not answered yet", "the guest answers; when the time is up, the try counts as failed",
		[]string{"logs {name} -f", "stop {name}", "stop {name} --force"},
	},
	vm.Running: {
		"the guest has answered", "nothing: the probes watch it, and its end is met by the restart policy",
		[]string{"console {name}", "logs {name} -f", "restart {name}", "stop {name}"},
	},
	vm.Paused: {
		"its vCPUs stand still because a person asked for it", "nothing until it is resumed",
		[]string{"resume {name}", "stop {name}", "stop {name} --force"},
	},
	vm.Stopping: {
		"the guest was asked to power off", "the guest powers off; when the time is up, the VMM is killed",
		[]string{"logs {name} -f", "stop {name} --force"},
	},
	vm.Killing: {
		"the VMM was killed", "its end is waited for; when the time is up, it is killed again",
		[]string{"wait {name} --for phase=stopped --timeout 30s", "logs {name}"},
	},
	vm.Reaping: {
		"the VMM is gone; its sockets and links are released", "the release ends; when the time is up, it is repeated",
		[]string{"logs {name}", "crashes {name}"},
	},
	vm.Backoff: {
		"it waits for the next try", "it is started again",
		[]string{"start {name}", "reset {name}", "stop {name}", "logs {name} --previous", "crashes {name}"},
	},
	vm.Failed: {
		"it was given up and is held", "nothing until it is reset or gets a new spec",
		[]string{"crashes {name}", "logs {name} --previous", "reset {name}", "stop {name}", "delete {name}"},
	},
	vm.Adopting: {
		"the daemon woke up and looks whether its VMM still lives", "it is adopted, or its end is met by the restart policy",
		[]string{"wait {name} --for phase=running --timeout 30s", "stop {name}", "stop {name} --force"},
	},
	vm.Removing: {
		"its folder, its disks and its record are being deleted", "it is gone; when the time is up, the deletion is repeated",
		[]string{"list"},
	},
}

var afterwards = map[vm.After]string{
	vm.ThenStop:    "then it is stopped",
	vm.ThenRestart: "then it is started again",
	vm.ThenBackoff: "then it waits for the next try",
	vm.ThenHold:    "then it is held as failed",
	vm.ThenRemove:  "then it is deleted",
}

// rested says that the guest, not a person, ended the last incarnation for good.
func rested(s vm.State) bool {
	return s.LastExit != nil && s.LastExit.Failure.Incarnation == s.Incarnation && s.LastExit.Decision.Rule == rulePoweroff
}

func seen(now time.Time, s vm.State) string {
	var out []string
	if s.Reason != "" {
		out = append(out, s.Reason)
	}
	if s.Phase&(vm.Starting|vm.Running|vm.Paused) != 0 {
		if why := s.HealthWhy; why != "" {
			out = append(out, fmt.Sprintf("%s for %s: %s", s.Health, age(now, s.HealthSince), why))
		}
		if !s.LaunchedAt.IsZero() {
			out = append(out, fmt.Sprintf("up for %s", age(now, s.LaunchedAt)))
		}
	}
	if c := s.LastExit; c != nil {
		out = append(out, fmt.Sprintf("its last end was %s ago, after %s up: %s",
			age(now, c.Failure.At), c.Uptime.Round(time.Millisecond), c.Failure.Error()))
	}
	return strings.Join(out, "; ")
}

func tried(now time.Time, r vm.Record, crashes []vm.Crash) string {
	if r.State.Restarts == 0 && len(crashes) == 0 && r.State.LastExit == nil {
		return ""
	}
	b := r.Spec.Restart.Budget
	restarts, charged, left := Budget(now, r.Spec.Restart, r.State)
	out := fmt.Sprintf("%s; %d of %s charged in %s, %d left", plural(restarts, "restart"), charged,
		plural(b.Attempts, "failure"), b.Window, left)
	const most = 5
	for i, c := range crashes[:min(len(crashes), most)] {
		join := ", "
		if i == 0 {
			join = "; newest first: "
		}
		out += fmt.Sprintf("%s#%d %s %s ago (%s)", join, c.Number, c.Failure.Cause, age(now, c.Failure.At), c.Decision.Do)
	}
	return out
}

// ruleOf names what the next step follows from: the last decision where it
// still stands, else the lifecycle's deadline, else the intent.
func ruleOf(s vm.State) string {
	d := s.LastExit
	decided := d != nil && d.Decision.Rule != ""
	switch {
	case s.Phase&(vm.Backoff|vm.Failed) != 0 && decided,
		s.Phase&ending != 0 && decided && d.Failure.Incarnation == s.Incarnation,
		s.Phase == vm.Stopped && rested(s):
		return d.Decision.Rule + ": " + d.Decision.Why
	case !s.Deadline.IsZero():
		return fmt.Sprintf("deadline: phase %s may last %s", s.Phase, s.Deadline.Sub(s.PhaseSince).Round(time.Millisecond))
	}
	return "intent: a person wants it " + s.Intent.String()
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// age is never negative: a clock that was set back makes things now.
func age(now, then time.Time) time.Duration { return max(0, now.Sub(then)).Round(time.Second) }
