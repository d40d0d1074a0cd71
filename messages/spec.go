package messages

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// SpecToProto is the spec as the socket shows it.
func SpecToProto(s vm.Spec) *blixardv1.VMSpec {
	out := &blixardv1.VMSpec{
		Name: Text(string(s.Name)), Cpus: int32(s.CPUs), MemoryBytes: int64(s.Memory),
		Boot: &blixardv1.Boot{
			Image: Text(s.Boot.Image), Kernel: Text(s.Boot.Kernel), Initrd: Text(s.Boot.Initrd),
			Cmdline: Text(s.Boot.Cmdline), Disk: Text(s.Boot.Disk), Runner: Text(s.Boot.Runner), Flake: Text(s.Boot.Flake),
		},
		Restart:   restartToProto(s.Restart),
		Autostart: autostartToProto(s.Autostart),
		Start:     &blixardv1.Start{Timeout: durationpb.New(s.Start.Timeout)},
		Stop:      &blixardv1.Stop{Method: s.Stop.Method, Timeout: durationpb.New(s.Stop.Timeout)},
		Resources: &blixardv1.Resources{
			CpuWeight: int32(s.Resources.CPUWeight), CpuQuota: int32(s.Resources.CPUQuota), IoWeight: int32(s.Resources.IOWeight),
		},
	}
	for _, d := range s.Disks {
		out.Disks = append(out.Disks, &blixardv1.Disk{
			Name: Text(d.Name), SizeBytes: int64(d.Size), Path: Text(d.Path), ReadOnly: d.ReadOnly,
		})
	}
	for _, n := range s.Networks {
		out.Networks = append(out.Networks, &blixardv1.Network{Mode: string(n.Mode), Mac: n.MAC, Bridge: Text(n.Bridge), Mtu: int32(n.MTU)})
	}
	out.Reclaim = reclaimToProto(s.Reclaim)
	for _, c := range s.Health {
		out.Health = append(out.Health, checkToProto(c))
	}
	out.Remedies, out.Dump, out.Seed = rungsToProto(s.Remedies), dumpToProto(s.Dump), seedToProto(s.Seed)
	return out
}

func autostartToProto(a vm.Autostart) *blixardv1.Autostart {
	out := &blixardv1.Autostart{Policy: string(a.Policy), Priority: int32(a.Priority)}
	for _, d := range a.DependsOn {
		out.DependsOn = append(out.DependsOn, &blixardv1.Dependency{Vm: Text(string(d.VM)), Is: Text(d.Is), Timeout: durationpb.New(d.Timeout)})
	}
	return out
}

func (d *durations) autostart(p *blixardv1.Autostart) vm.Autostart {
	a := vm.Autostart{Policy: vm.AutostartPolicy(p.GetPolicy()), Priority: int(p.GetPriority())}
	for i, one := range p.GetDependsOn() {
		a.DependsOn = append(a.DependsOn, vm.Dependency{
			VM: vm.Name(one.GetVm()), Is: one.GetIs(), Timeout: d.read(fmt.Sprintf("autostart.dependsOn[%d].timeout", i), one.GetTimeout()),
		})
	}
	return a
}

func restartToProto(r vm.Restart) *blixardv1.Restart {
	out := &blixardv1.Restart{
		Policy: string(r.Policy),
		Delay: &blixardv1.Delay{
			Initial: durationpb.New(r.Delay.Initial), Factor: r.Delay.Factor, Max: durationpb.New(r.Delay.Max), Jitter: r.Delay.Jitter,
		},
		Budget:     &blixardv1.Budget{Attempts: int32(r.Budget.Attempts), Window: durationpb.New(r.Budget.Window)},
		ResetAfter: durationpb.New(r.ResetAfter),
	}
	for _, d := range r.Delays {
		out.Delays = append(out.Delays, durationpb.New(d))
	}
	return out
}

// SpecFromProto reads a spec as it was sent: neither filled nor checked. It
// refuses only what a vm.Spec can't hold.
func SpecFromProto(p *blixardv1.VMSpec) (vm.Spec, error) {
	if p == nil {
		return vm.Spec{}, &vm.Refusal{Code: vm.Invalid, Why: "the request has no spec", Try: `send {"spec":{"name":"web-1"}}`}
	}
	d := durations{}
	s := vm.Spec{
		Name: vm.Name(p.GetName()), CPUs: int(p.GetCpus()), Memory: vm.Bytes(p.GetMemoryBytes()),
		Boot: vm.Boot{
			Image: p.GetBoot().GetImage(), Kernel: p.GetBoot().GetKernel(), Initrd: p.GetBoot().GetInitrd(),
			Cmdline: p.GetBoot().GetCmdline(), Disk: p.GetBoot().GetDisk(), Runner: p.GetBoot().GetRunner(), Flake: p.GetBoot().GetFlake(),
		},
		Restart:   d.restart(p.GetRestart()),
		Autostart: d.autostart(p.GetAutostart()),
		Start:     vm.Start{Timeout: d.read("start.timeout", p.GetStart().GetTimeout())},
		Stop:      vm.Stop{Method: p.GetStop().GetMethod(), Timeout: d.read("stop.timeout", p.GetStop().GetTimeout())},
		Resources: vm.Resources{
			CPUWeight: int(p.GetResources().GetCpuWeight()), CPUQuota: int(p.GetResources().GetCpuQuota()),
			IOWeight: int(p.GetResources().GetIoWeight()),
		},
		Reclaim: d.reclaim(p.GetReclaim()),
	}
	for _, one := range p.GetDisks() {
		s.Disks = append(s.Disks, vm.Disk{
			Name: one.GetName(), Size: vm.Bytes(one.GetSizeBytes()), Path: one.GetPath(), ReadOnly: one.GetReadOnly(),
		})
	}
	for _, one := range p.GetNetworks() {
		s.Networks = append(s.Networks, vm.Network{
			Mode: vm.NetworkMode(one.GetMode()), Bridge: one.GetBridge(), MTU: int(one.GetMtu()), MAC: one.GetMac(),
		})
	}
	for i, one := range p.GetHealth() {
		s.Health = append(s.Health, d.check(fmt.Sprintf("health[%d].", i), one))
	}
	s.Remedies, s.Dump, s.Seed = rungs(p.GetRemedies()), d.dump(p.GetDump()), seed(p.GetSeed())
	if d.refusal != nil {
		return vm.Spec{}, d.refusal
	}
	return s, nil
}

// durations reads durations and remembers the first that a vm.Spec can't hold.
type durations struct{ refusal *vm.Refusal }

func (d *durations) read(field string, p *durationpb.Duration) time.Duration {
	if p == nil {
		return 0
	}
	// AsDuration clamps what is beyond 292 years; no spec means that.
	const most = 292 * 365 * 24 * 3600
	if err := p.CheckValid(); (err != nil || p.GetSeconds() > most || p.GetSeconds() < -most) && d.refusal == nil {
		d.refusal = &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("%s: %d s %d ns is no duration that a spec can hold", field, p.GetSeconds(), p.GetNanos()),
			Try: `write it as "30s"`,
		}
	}
	return p.AsDuration()
}

func (d *durations) restart(p *blixardv1.Restart) vm.Restart {
	r := vm.Restart{
		Policy: vm.RestartPolicy(p.GetPolicy()),
		Delay: vm.Delay{
			Initial: d.read("restart.delay.initial", p.GetDelay().GetInitial()), Factor: p.GetDelay().GetFactor(),
			Max: d.read("restart.delay.max", p.GetDelay().GetMax()), Jitter: p.GetDelay().GetJitter(),
		},
		Budget:     vm.Budget{Attempts: int(p.GetBudget().GetAttempts()), Window: d.read("restart.budget.window", p.GetBudget().GetWindow())},
		ResetAfter: d.read("restart.resetAfter", p.GetResetAfter()),
	}
	for i, one := range p.GetDelays() {
		r.Delays = append(r.Delays, d.read(fmt.Sprintf("restart.delays[%d]", i), one))
	}
	return r
}
