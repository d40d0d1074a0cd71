package policies

import (
	"bytes"
	"fmt"

	"github.com/blixard/blixard/vm"
)

// A VMM that lives, and that nobody can speak to, as its control socket is gone:
// its guest is well, and is not ended for that. Whoever was connected goes on;
// it is the next daemon that finds nobody.

const (
	deaf    = "its control socket is gone"
	deafTry = "blixard vm restart {name}, when it suits"
)

// DeafWhy says what is the matter with a VMM whose socket was at path.
func DeafWhy(path string) string { return deaf + ": somebody deleted " + path }

// NotHeard is why nothing is proved by a VMM that can't be asked.
const NotHeard = deaf + ", so it can't be asked"

// DeafHealth is the health of a guest whose probes say h, and whose VMM is deaf:
// it works, and isn't whole.
func DeafHealth(h vm.Health, why, deafWhy string) (vm.Health, string) {
	if h == vm.Healthy || h == vm.HealthUnknown {
		return vm.Degraded, deafWhy + "; it can't be paused, suspended or dumped until `blixard vm restart` brings it back"
	}
	return h, why + "; and " + deaf
}

// cantSay refuses what only the VMM could do, and would have to be told.
func cantSay(rec vm.Record, e vm.Event) *vm.Refusal {
	what := map[vm.Event]string{vm.PauseAsked: "paused", vm.ResumeAsked: "resumed", vm.SuspendAsked: "suspended"}[e]
	if what == "" {
		return nil
	}
	return &vm.Refusal{
		Code: vm.WrongPhase, Why: fmt.Sprintf("%s can't be %s: %s", rec.Spec.Name, what, rec.State.Deaf),
		Try: expandName(deafTry, rec.Spec.Name),
	}
}

// CantDump refuses the same of a memory dump.
func CantDump(name vm.Name, deafWhy string) *vm.Refusal {
	return &vm.Refusal{Code: vm.WrongPhase, Why: fmt.Sprintf("the memory of %s can't be written: %s", name, deafWhy), Try: expandName(deafTry, name)}
}

// poweredDown is the last line of a Linux kernel that switches its machine off.
var poweredDown = []byte("reboot: Power down")

// HasPowerDown says whether the console's tail tells that the guest is off.
func HasPowerDown(console []byte) bool { return bytes.Contains(console, poweredDown) }

// Unheard is the end of a VMM that was deaf. Where it was asked down, and
// nothing but our signal has ended it, that is its cause.
func Unheard(f vm.Failure, asked bool) vm.Failure {
	x := f.Exit
	if asked && x != nil && (!x.Known || x.Signal == sigTERM || x.Signal == 0 && x.Code == 0) {
		f.Cause, f.Confidence = vm.CauseUs, vm.Certain
		f.Evidence = "it was asked down, and its VMM was ended by SIGTERM, as " + deaf
		return f
	}
	if x == nil && f.Confidence == vm.Certain {
		f.Confidence = vm.Likely // nobody has told; it was found out
	}
	f.Evidence += "; nobody could hear what its VMM said of it, as " + deaf
	return f
}

// explainDeaf tells what becomes of a VM whose VMM is deaf.
func explainDeaf(e *Explanation, w *words, s vm.State) {
	if s.Deaf == "" {
		return
	}
	e.State += "; nobody can speak to its VMM, as " + s.Deaf
	switch s.Phase { //nolint:exhaustive // of the three in which it can be
	case vm.Running:
		e.Next = "nothing: the guest lives on, and the checks that need no control socket watch it; a panic, a power-off or a full disk shows by them, by its console or by the end of its process alone"
		w.can = []string{"show {name}", "restart {name}", "console {name}", "logs {name} -f", "stop {name}"}
	case vm.Paused:
		e.Next = "nothing: it can't be resumed any more, only restarted"
		w.can = []string{"restart {name}", "stop {name}"}
	case vm.Stopping:
		e.Next = "the guest's agent, where one answers, is asked to power it off; otherwise its VMM is ended by SIGTERM at once, and flushes its disks, " + afterwards[s.After]
	}
}
