package vm

import (
	"slices"
	"strconv"
	"time"
)

// Image is the guest that ships with the project.
const Image = "builtin"

// Where a default comes from the field's common ground, docs/ says from whom.
const (
	defaultCPUs     = 1
	defaultMemory   = 128 * MiB
	defaultInitial  = time.Second
	defaultFactor   = 2
	defaultMax      = 5 * time.Minute
	defaultJitter   = 0.1
	defaultAttempts = 5
	defaultWindow   = 10 * time.Minute
	defaultReset    = 10 * time.Minute
	defaultStop     = 30 * time.Second
	defaultWeight   = 100

	// A Debian guest under TCG answers within tens of seconds, and an overcommitted
	// node boots several times slower than an idle one. Two minutes let those
	// through, and a guest that hangs is still noticed while a person waits.
	defaultStart = 2 * time.Minute
)

// Filled returns the spec with every default in the place of what wasn't said.
// The zero value means "not said", so some zeros have another spelling: no
// delay at all is delays: [0s]; no jitter is 0 beside a whole curve (initial,
// factor and max); no check of the built-in guest is the check "vmm". The
// receiver is left alone, and filling twice changes nothing.
func (s Spec) Filled() Spec {
	fill(&s.CPUs, defaultCPUs)
	fill(&s.Memory, defaultMemory)
	if s.Boot == (Boot{Image: s.Boot.Image, Cmdline: s.Boot.Cmdline}) {
		fill(&s.Boot.Image, Image)
	}
	s.Disks = filledDisks(s.Disks)
	s.Networks = filledNetworks(s.Networks)
	s.Restart = s.Restart.filled()
	s.Autostart = s.Autostart.filled()
	s.Health = filledChecks(s.Health, s.Boot.Image)
	fill(&s.Start.Timeout, defaultStart)
	fill(&s.Stop.Method, "auto")
	fill(&s.Stop.Timeout, defaultStop)
	fill(&s.Resources.CPUWeight, defaultWeight)
	fill(&s.Resources.IOWeight, defaultWeight)
	s.Reclaim = s.Reclaim.filled()
	s.Remedies = filledRungs(s.Remedies)
	s.Dump = s.Dump.filled()
	s.Seed.SSHKeys = slices.Clone(s.Seed.SSHKeys)
	return s
}

// Renew gives what an older daemon wrote the defaults that it didn't know, and
// changes nothing else: its checks had neither names nor roles.
func (r *Record) Renew() {
	r.Spec.Health = filledChecks(r.Spec.Health, "")
	if r.State.Runs != nil {
		runs := *r.State.Runs
		runs.Spec.Health = filledChecks(runs.Spec.Health, "")
		r.State.Runs = &runs
	}
}

func (r Restart) filled() Restart {
	fill(&r.Policy, RestartOnFailure)
	whole := r.Delay.Initial != 0 && r.Delay.Factor != 0 && r.Delay.Max != 0
	fill(&r.Delay.Initial, defaultInitial)
	fill(&r.Delay.Factor, defaultFactor)
	fill(&r.Delay.Max, max(defaultMax, r.Delay.Initial))
	if !whole {
		fill(&r.Delay.Jitter, defaultJitter)
	}
	r.Delays = slices.Clone(r.Delays)
	fill(&r.Budget.Attempts, defaultAttempts)
	fill(&r.Budget.Window, defaultWindow)
	fill(&r.ResetAfter, defaultReset)
	return r
}

func (a Autostart) filled() Autostart {
	fill(&a.Policy, AutostartInherit)
	a.DependsOn = slices.Clone(a.DependsOn)
	for i := range a.DependsOn {
		fill(&a.DependsOn[i].Is, IsRunning)
		fill(&a.DependsOn[i].Timeout, defaultStart)
	}
	return a
}

func filledDisks(in []Disk) []Disk {
	out := slices.Clone(in)
	for i := range out {
		fill(&out[i].Name, "disk"+strconv.Itoa(i))
	}
	return out
}

func filledNetworks(in []Network) []Network {
	out := slices.Clone(in)
	for i := range out {
		if out[i].Bridge != "" {
			fill(&out[i].Mode, NetworkBridge)
		}
		fill(&out[i].Mode, NetworkUser)
		if out[i].MAC == "auto" {
			out[i].MAC = ""
		}
	}
	return out
}

func fill[T comparable](field *T, with T) {
	var unset T
	if *field == unset {
		*field = with
	}
}
