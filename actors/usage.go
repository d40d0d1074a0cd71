package actors

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// usages is the last sample of each VM whose VMM lives. One that is published
// is never changed.
type usages map[vm.ID]measured

// measured is the last sample of one VMM.
type measured struct {
	process vm.Process // whose it is: what is compared with it must be of the same one
	vm.Usage
}

// slowest is how long a look may take before it goes on without the rest: the
// files of /proc and of cgroups take microseconds each, those of a network
// filesystem that hangs never come.
const slowest = 10 * time.Second

// usage is the last sample of that VMM; zero where none was taken.
func (e *env) usage(id vm.ID, of *vm.Process) vm.Usage {
	all := e.usages.Load()
	if all == nil || of == nil {
		return vm.Usage{}
	}
	if one, ok := (*all)[id]; ok && one.process == *of {
		return one.Usage
	}
	return vm.Usage{}
}

// metered lists every VMM that should live.
func (e *env) metered() (of []vm.Metered, specs map[vm.ID]*vm.Spec) {
	views := e.views.list()
	of, specs = make([]vm.Metered, 0, len(views)), make(map[vm.ID]*vm.Spec, len(views))
	built := false
	for _, v := range views {
		rec := &v.rec // which nobody changes
		if rec.State.Process == nil {
			continue
		}
		one := vm.Metered{Ref: rec.Ref(), Process: *rec.State.Process}
		one.Folder = e.ports.Folders.Paths(one.Ref).Folder
		for i, n := range rec.Spec.Networks {
			if n.Mode == vm.NetworkBridge {
				one.Links = append(one.Links, host.LinkName(rec.Slot, i))
			}
		}
		of, specs[rec.ID] = append(of, one), &rec.Spec
		built = built || rec.Spec.Boot.Built()
	}
	if built {
		e.addRunnersLinks(of)
	}
	return of, specs
}

// addRunnersLinks finds the taps of built runners, which have names of their own.
func (e *env) addRunnersLinks(of []vm.Metered) {
	ctx, cancel := context.WithTimeout(context.Background(), slowest)
	defer cancel()
	found, err := e.ports.Links.List(ctx)
	if err != nil {
		e.log.Warn("taps of built runners were not measured", zap.Error(err))
		return
	}
	names := map[vm.ID][]string{}
	for _, link := range found {
		names[link.VM] = append(names[link.VM], link.Name)
	}
	for i, one := range of {
		if len(one.Links) == 0 {
			of[i].Links = names[one.Ref.VM]
		}
	}
}

// measure looks at every live VMM; it may wait for the disk. A VMM that could
// not be looked at keeps its last sample, which tells its age.
func (e *env) measure() usages {
	of, specs := e.metered()
	var counters map[vm.ID]vm.Counters
	if e.ports.Meter != nil && len(of) > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), slowest)
		defer cancel()
		var err error
		if counters, err = e.ports.Meter.Read(ctx, of); err != nil {
			e.log.Warn("not every VM was measured", zap.Error(err))
		}
	}
	out := make(usages, len(of))
	for _, one := range of {
		id := one.Ref.VM
		before := e.usage(id, &one.Process)
		now, ok := counters[id]
		if !ok {
			if !before.At.IsZero() {
				out[id] = measured{one.Process, before}
			}
			continue
		}
		u := policies.Rates(before, now)
		u.IdleSince = policies.Idle(before, u, specs[id].Reclaim.Idle)
		u.Balloon, u.GuestFree = e.guests.of(one.Ref, specs[id].Memory)
		out[id] = measured{one.Process, u}
	}
	return out
}

// measureNode looks at the machine; what it tells of is zero where that failed.
func (e *env) measureNode(before vm.NodeUsage) vm.NodeUsage {
	if e.ports.Meter == nil {
		return vm.NodeUsage{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), slowest)
	defer cancel()
	now, err := e.ports.Meter.Node(ctx)
	if err != nil {
		e.log.Warn("the node was not measured", zap.Error(err))
		return vm.NodeUsage{}
	}
	return policies.NodeRates(before, now)
}
