package policies

import (
	"fmt"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// BootPolicy is the node's own: what the VMs inherit whose autostart says nothing else.
type BootPolicy string

// The policies of a node.
const (
	RestartAll     BootPolicy = "restart-all"     // what was wanted up comes back
	RestartHealthy BootPolicy = "restart-healthy" // what was wanted up and well comes back, the rest is held
	BootManual     BootPolicy = "manual"          // nothing comes back by itself
)

// The rules of a boot; crash records and `vm explain` name them.
const (
	ruleBoot     = "host-reboot"    // the node went down under it, and it comes back in its turn
	ruleUnwell   = "boot-healthy"   // it was not well when the node went down
	ruleByPerson = "boot-by-person" // only a person starts it after a boot
)

// Waking is what a VM's actor knows of the node when it wakes up.
type Waking struct {
	At      time.Time
	BootID  vm.BootID
	NewBoot bool // no daemon has woken all VMs in this boot yet
	Policy  BootPolicy
}

// Woken is the turn with which a record is met at the start of a daemon. In a
// new boot of the node nothing of an old incarnation lives, so nothing is looked
// for: what was up is over, and what comes back waits for its turn.
func Woken(rec vm.Record, w Waking) Turn {
	s := rec.State
	t := Turn{Event: vm.Woke, At: w.At, BootID: w.BootID}
	const held = vm.AllPhases &^ (idle | vm.Removing)
	switch {
	case s.Phase&held != 0 && s.BootID != w.BootID:
		d := AfterBoot(w.Policy, rec)
		t.Event, t.Decision = vm.Rebooted, &d
		t.Failure = &vm.Failure{Cause: vm.CauseHostReboot, Evidence: "the node booted anew"}
	case !w.NewBoot:
	case s.Phase == vm.Backoff:
		d := AfterBoot(w.Policy, rec)
		t.Event, t.Decision = vm.Enlisted, &d
		switch d.Do {
		case vm.GiveUp:
			t.Event = vm.HeldBack
		case vm.StayDown:
			t.Event = vm.Dismissed
			if s.Saved != nil {
				t.Event = vm.Shelved
			}
		case vm.Enqueue:
			if !s.Queued && w.At.Before(s.Deadline) { // P10: its next try survives the boot, and so does the wait for it
				return Turn{Event: vm.Woke, At: w.At, BootID: w.BootID}
			}
		}
	case s.Phase == vm.Stopped && !s.AskedDown && rec.Spec.Autostart.Policy == vm.AutostartAlways:
		d := vm.Decision{Do: vm.Enqueue, Rule: ruleBoot, Why: "autostart.policy is always, and nobody asked it down: it waits for its turn"}
		t.Event, t.Decision = vm.Enlisted, &d
	}
	return t
}

const ruleSafe = "safe-mode" // nothing is started while the store is lost

// AfterSafeMode is what the records are when safe mode ends: what died in it and
// was held for that alone gets its next try now.
func AfterSafeMode(records []vm.Record, now time.Time) []vm.Record {
	out := slices.Clone(records)
	for i := range out {
		s := &out[i].State
		if s.Phase != vm.Failed || s.LastExit == nil || s.LastExit.Decision.Rule != ruleSafe {
			continue
		}
		c := *s.LastExit
		c.Decision = vm.Decision{Do: vm.BackOff, Rule: ruleSafe, Why: "safe mode is over"}
		s.LastExit, s.Phase, s.PhaseSince, s.Deadline, s.After = &c, vm.Backoff, now, now, vm.ThenBackoff
		s.Reason = "it ended while the node was in safe mode"
	}
	return out
}

// HeldInSafeMode is what follows every end while the node is in safe mode.
func HeldInSafeMode() *vm.Decision {
	return &vm.Decision{Do: vm.GiveUp, Rule: ruleSafe, Why: "the node is in safe mode and starts nothing: blixard node repair"}
}

// AfterBoot decides what becomes of a VM that is wanted up, when the node has
// booted anew. What was given up stays held, and is not asked here.
func AfterBoot(node BootPolicy, rec vm.Record) vm.Decision {
	policy, whose := rec.Spec.Autostart.Policy, "autostart.policy is "+string(rec.Spec.Autostart.Policy)
	if policy == vm.AutostartInherit {
		policy, whose = inherited(node), "the node's boot policy is "+string(node)
	}
	health := lastHealth(rec)
	switch {
	case policy == vm.AutostartNever:
		return vm.Decision{Do: vm.StayDown, Rule: ruleByPerson, Why: "the node booted anew, and " + whose + ": only a person starts it"}
	case policy == vm.AutostartHealthy && health != vm.Healthy && health != vm.Degraded:
		return vm.Decision{Do: vm.GiveUp, Rule: ruleUnwell, Why: fmt.Sprintf("its health was %s when the node went down, and %s", health, whose)}
	}
	return vm.Decision{Do: vm.Enqueue, Rule: ruleBoot, Why: "the node booted anew: it waits for its turn"}
}

func inherited(node BootPolicy) vm.AutostartPolicy {
	switch node {
	case RestartHealthy:
		return vm.AutostartHealthy
	case BootManual:
		return vm.AutostartNever
	case RestartAll:
	}
	return vm.AutostartLastState
}

// lastHealth is how the VM was when it was last up: now, where it is up. A VM
// without checks was well when it had answered.
func lastHealth(rec vm.Record) vm.Health {
	s := rec.State
	switch {
	case s.Phase&(vm.Running|vm.Paused) == 0:
		return s.LastHealth
	case len(rec.Spec.Health) == 0 || s.Health == vm.HealthStarting:
		return vm.Healthy // it has answered, and nothing was held against it since
	}
	return s.Health
}
