package actors

import (
	"context"
	"errors"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// prepareAll makes ready what a launch needs: the folder first, as its manifest
// says whose the rest is. What had to be repaired is told, for somebody broke it.
func (e *env) prepareAll(ctx context.Context, rec vm.Record) error {
	ref, spec := rec.Ref(), rec.Spec
	if err := e.ports.Folders.Prepare(ctx, rec); err != nil {
		return err
	}
	if bridged(spec) {
		uid, gid := e.ports.Owners.Of(ref.Slot)
		repaired, err := e.ports.Links.Ensure(ctx, ref, spec.Networks, uid, gid)
		for _, why := range repaired {
			e.note("LinkRepaired", rec, why)
		}
		if err != nil {
			return err
		}
	}
	return e.ports.Driver.Prepare(ctx, ref, spec, e.ports.Folders.Paths(ref))
}

// releaseAll takes back what an incarnation holds; at rest says that no other
// one follows at once. One that fails doesn't keep the others from being tried.
func (e *env) releaseAll(ctx context.Context, ref vm.Ref, spec vm.Spec, rest bool) error {
	var errs []error
	if rest { // whatever the spec says by now: another one may have been started (P7)
		errs = append(errs, e.ports.Driver.Release(ctx, ref, spec, e.ports.Folders.Paths(ref)), e.ports.Links.Release(ctx, ref, spec.Networks))
	}
	return errors.Join(append(errs, e.ports.Folders.Release(ctx, ref))...)
}

// bridged says whether a VM has NICs on the host; the others need no privilege.
func bridged(s vm.Spec) bool {
	for _, n := range s.Networks {
		if n.Mode == vm.NetworkBridge {
			return true
		}
	}
	return false
}

// linkNoticed: Links → run-<n>. May come twice and late.
type linkNoticed struct{ host.LinkNotice }

// watchLinks hears what happens to the taps under the running guest.
func (r *runActor) watchLinks() {
	if !bridged(r.rec.Spec) {
		return
	}
	r.cutOff = map[string]string{}
	self, env := r.self, r.env
	cancel := env.ports.Links.Watch(r.ref, r.rec.Spec.Networks, func(n host.LinkNotice) { env.tell(self, linkNoticed{n}) })
	context.AfterFunc(r.ctx, cancel)
}

// linkNoticed: a tap that is gone leaves the VMM with a dead descriptor, which
// no VMM of ours can exchange while it runs: only another incarnation heals it.
// One that lost its bridge is unwell until it has one again; a new incarnation
// would not be better off.
func (r *runActor) linkNoticed(n host.LinkNotice) {
	if n.Lost && r.off {
		return // its guest is going anyway
	}
	if n.Lost {
		r.fail(vm.Failure{Cause: vm.CauseLinkLost, Evidence: n.Link + ": " + n.Why, Ready: r.ready}, true)
	}
	rec, env, kind := r.rec, r.env, "LinkRepaired"
	delete(r.cutOff, n.Link)
	if n.Broken {
		kind, r.cutOff[n.Link] = "LinkBroken", n.Why
	}
	go env.note(kind, rec, n.Why)
	if r.visit > 0 { // else its guest isn't looked at yet
		r.judge()
	}
}
