package sim

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// canary is the VM that nobody asks anything after its creation, whose guests
// are well and whose budget is large: whatever befalls the others, it has to
// be up in the end (P13).
const canary vm.Name = "canary"

// cast is one VM of a script with the nature of its guests.
type cast struct {
	spec   vm.Spec
	nature nature
}

// nature says how likely a guest of this VM does what.
type nature struct {
	mute, crash, poweroff, panics, reset, hang, deaf, writes, leaks float64
	prepareFails                                                    host.Kind
}

// plan is what a seed draws before anything happens.
type plan struct {
	seed  uint64
	casts map[vm.Name]cast
	names []vm.Name // in order; the canary is not among them

	conduct actors.Conduct
}

func draw(seed uint64, dice *rand.Rand) *plan {
	p := &plan{seed: seed, casts: map[vm.Name]cast{}, conduct: drawConduct(dice)}
	steady := vm.Spec{Name: canary}.Filled()
	steady.Restart.Budget.Attempts = 100
	steady.Autostart.Policy = vm.AutostartAlways
	p.casts[canary] = cast{spec: steady}
	for i := range 2 + dice.IntN(10) {
		name := vm.Name(fmt.Sprintf("vm-%02d", i))
		p.names = append(p.names, name)
		spec := drawSpec(name, dice)
		spec.Autostart.DependsOn = drawDependencies(dice, p.names[:i]) // on earlier ones: no cycle
		spec.Reclaim = drawReclaim(seed, idleness(seed, string(name)))
		spec.Remedies = withRestore(seed, string(name), drawRemedies(seed, string(name)))
		spec.Dump = drawDump(seed, string(name))
		p.casts[name] = cast{spec: spec, nature: drawNature(dice)}
	}
	return p
}

func drawConduct(dice *rand.Rand) actors.Conduct {
	return actors.Conduct{
		Policy:   pick(dice, policies.RestartAll, policies.RestartAll, policies.RestartHealthy, policies.BootManual),
		Parallel: pick(dice, 0, 0, 1, 4), Slow: pick(dice, 10*time.Second, time.Minute, 3*time.Minute),
	}
}

// drawRemedies gives half of the VMs a ladder; it has dice of its own, so that
// a seed's story stays as it was for the others.
func drawRemedies(seed uint64, name string) []vm.Rung {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/remedies", name)
	dice := rand.New(rand.NewPCG(seed, h.Sum64())) //nolint:gosec // reproducible by seed
	var out []vm.Rung
	for range dice.IntN(4) {
		out = append(out, vm.Rung{Do: pick(dice, vm.RemedyReset, vm.RemedyReset, vm.RemedyRestart, vm.RemedyKill), Times: 1 + dice.IntN(3)})
	}
	switch dice.IntN(4) {
	case 0, 1:
		return nil
	case 2:
		out = append(out, vm.Rung{Do: pick(dice, vm.RemedyReset, vm.RemedyHold)})
	}
	return out
}

// withRestore puts the known-good state before what else a third of the VMs is
// tried with, by dice of its own.
func withRestore(seed uint64, name string, ladder []vm.Rung) []vm.Rung {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/restore", name)
	dice := rand.New(rand.NewPCG(seed, h.Sum64())) //nolint:gosec // reproducible by seed
	rung := vm.Rung{Do: vm.RemedyRestore, Times: 1 + dice.IntN(3)}
	if dice.IntN(3) > 0 {
		return ladder
	}
	if len(ladder) == 0 && dice.IntN(2) == 0 {
		rung.Times = 0
	}
	return append([]vm.Rung{rung}, ladder...)
}

// drawDump has half of the VMs dumped before they are killed, by dice of its own.
func drawDump(seed uint64, name string) vm.Dump {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/dump", name)
	dice := rand.New(rand.NewPCG(seed, h.Sum64())) //nolint:gosec // reproducible by seed
	d := vm.Dump{Format: pick(dice, vm.DumpKdump, vm.DumpELF), Timeout: pick(dice, time.Second, 30*time.Second)}
	d.On = pick(dice, nil, nil, []vm.Cause{vm.CauseGuestPanic}, []vm.Cause{vm.CauseGuestPanic, vm.CauseHealthFailed})
	if d.On == nil {
		return vm.Dump{}
	}
	return d
}

func drawPolicy(dice *rand.Rand) vm.AutostartPolicy {
	return pick(dice, vm.AutostartInherit, vm.AutostartInherit, vm.AutostartAlways, vm.AutostartHealthy, vm.AutostartLastState, vm.AutostartNever)
}

// drawDependencies lets a VM depend on up to two others.
func drawDependencies(dice *rand.Rand, on []vm.Name) []vm.Dependency {
	var out []vm.Dependency
	for range dice.IntN(3) {
		if len(on) > 0 {
			out = append(out, vm.Dependency{
				VM: pick(dice, on...), Is: pick(dice, vm.IsRunning, vm.IsHealthy),
				Timeout: pick(dice, 5*time.Second, time.Minute, 10*time.Minute),
			})
		}
	}
	return out
}

func drawSpec(name vm.Name, dice *rand.Rand) vm.Spec {
	s := vm.Spec{Name: name}.Filled()
	r := &s.Restart
	r.Policy = pick(dice, vm.RestartOnFailure, vm.RestartOnFailure, vm.RestartAlways, vm.RestartNever)
	r.Delay.Initial = pick(dice, 100*time.Millisecond, time.Second, 10*time.Second)
	r.Delay.Max = pick(dice, 10*time.Second, time.Minute, 5*time.Minute)
	r.Budget.Attempts = pick(dice, 1, 3, 5, 20)
	r.Budget.Window = pick(dice, time.Minute, 10*time.Minute)
	r.ResetAfter = pick(dice, time.Minute, 10*time.Minute)
	if dice.IntN(5) == 0 {
		r.Delays = []time.Duration{0, time.Second, 20 * time.Second}
	}
	s.Start.Timeout = pick(dice, 5*time.Second, 30*time.Second, 2*time.Minute)
	s.Stop.Timeout = pick(dice, time.Second, 10*time.Second, 30*time.Second)
	s.Stop.Method = pick(dice, "auto", "auto", "agent", "acpi", "kill")
	s.Autostart.Policy, s.Autostart.Priority = drawPolicy(dice), dice.IntN(3)
	if dice.IntN(4) == 0 {
		s.Networks = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
	}
	switch dice.IntN(4) {
	case 0:
		s.Health = nil // a VMM that answers is ready
	case 1:
		s.Health = []vm.Check{{Type: vm.CheckVMM, Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1}}
	}
	return s
}

func drawNature(dice *rand.Rand) nature {
	n := nature{mute: 0.05, crash: 0.2, poweroff: 0.06, panics: 0.06, reset: 0.08, hang: 0.08, deaf: 0.2, writes: 0.3, leaks: 0.04}
	switch dice.IntN(10) {
	case 0:
		n.prepareFails = pick(dice, host.Broken, host.Transient, host.Denied)
	case 1:
		n.crash = 1
	case 2:
		n.mute = 0.5
	case 3, 4:
		n = nature{}
	}
	return n
}

// guest is a pure function of the seed and the incarnation's name and number.
func (p *plan) guest(ref vm.Ref) fake.Guest {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s/%d", ref.Name, ref.Incarnation)
	dice := rand.New(rand.NewPCG(p.seed, h.Sum64())) //nolint:gosec // reproducible by seed
	n := p.casts[ref.Name].nature
	g := fake.Guest{Boot: time.Duration(1+dice.IntN(8000)) * time.Millisecond, PrepareFails: n.prepareFails}
	if ref.Name == canary {
		return fake.Guest{Boot: time.Second, Writes: true}
	}
	soon := func(likely float64) time.Duration {
		after := time.Duration(1+dice.IntN(20_000)) * pick(dice, time.Millisecond, 10*time.Millisecond, 100*time.Millisecond)
		if dice.Float64() >= likely {
			return 0
		}
		return after
	}
	g.Crash, g.PowerOff, g.Panic = soon(n.crash), soon(n.poweroff), soon(n.panics)
	g.Reset, g.Hang, g.Deaf = soon(n.reset), soon(n.hang), dice.Float64() < n.deaf
	g.Writes = dice.Float64() < n.writes
	if dice.Float64() < n.mute {
		g.Boot = -1
	}
	g.OutOfMemory = soon(n.leaks)
	return g
}

func pick[T any](dice *rand.Rand, from ...T) T { return from[dice.IntN(len(from))] }
