package policies

import (
	"math"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// Charge returns the state after a decision: the ledger, the exponents of the
// delays, what is used up of the remedies, and nothing else is changed. The ledger keeps what is inside the
// budget's window, at most vm.MaxLedger entries, oldest first.
func Charge(now time.Time, r vm.Restart, s vm.State, d vm.Decision) vm.State {
	if forgiven(now, r, s) {
		s.Ledger, s.Tries, s.Spared, s.Rungs = nil, 0, 0, nil
	}
	kept := make([]time.Time, 0, len(s.Ledger)+1)
	for _, at := range s.Ledger {
		if at = believed(at, now, s); now.Sub(at) < r.Budget.Window {
			kept = append(kept, at)
		}
	}
	slices.SortFunc(kept, time.Time.Compare) // a mended entry may be older than the one before it
	switch {
	case d.Charged:
		kept = append(kept, now)
		s.Tries, s.Spared = counted(s.Tries), 0
	case d.Do == vm.RestartNow || d.Do == vm.BackOff:
		s.Spared = counted(s.Spared)
	}
	s.Ledger = nil
	if len(kept) > 0 {
		s.Ledger = slices.Clip(kept[max(0, len(kept)-vm.MaxLedger):])
	}
	return s
}

// Budget tells where a VM stands now: the restarts that supervision began since
// it was created, the charged failures inside the window, and how many more are
// followed by another try. The failure after these gives up.
func Budget(now time.Time, r vm.Restart, s vm.State) (count, charged, remaining int) {
	if !forgiven(now, r, s) {
		charged = inWindow(now, r, s)
	}
	return int(min(s.Restarts, math.MaxInt)), charged, max(0, r.Budget.Attempts-charged)
}

func inWindow(now time.Time, r vm.Restart, s vm.State) int {
	n := 0
	for _, at := range s.Ledger {
		if now.Sub(believed(at, now, s)) < r.Budget.Window {
			n++
		}
	}
	return n
}

// believed is when a ledger's entry happened, as far as the clock can be
// trusted. A clock that was set back leaves entries in the future: they happened
// before now, and before this incarnation was launched. So they age again and
// hold nothing for ever, and none of them is forgotten. A clock set forward
// can't be told from time that passed.
func believed(at, now time.Time, s vm.State) time.Time {
	if !at.After(now) {
		return at
	}
	if !s.LaunchedAt.IsZero() && s.LaunchedAt.Before(now) {
		return s.LaunchedAt
	}
	return now
}

// forgiven says whether this incarnation has been well for so long that delay
// and budget start anew (systemd/systemd#43813: a backoff that never resets).
func forgiven(now time.Time, r vm.Restart, s vm.State) bool {
	return r.ResetAfter > 0 && well(now, s) >= r.ResetAfter
}

// well is how long the guest was proved to be in order without a break: healthy,
// or merely up where no check is set. While a probe's verdict is against it, the
// time before the verdict counts, else a guest that hangs once a day would climb
// the curve for ever. While no daemon looked, nothing was proved (P10).
func well(now time.Time, s vm.State) time.Duration {
	if s.ReadyAt.IsZero() || s.Phase == vm.Adopting {
		return 0
	}
	switch s.Health {
	case vm.Healthy:
		return now.Sub(later(s.ReadyAt, s.HealthSince))
	case vm.Degraded, vm.Unhealthy:
		return s.HealthSince.Sub(s.ReadyAt)
	case vm.HealthUnknown, vm.HealthStarting:
	}
	return now.Sub(s.ReadyAt)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func counted(n int) int { return min(max(n, 0), math.MaxInt32) + 1 }
