package netlink

import (
	"context"
	"errors"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Release removes the VM's taps, of whatever incarnation up to this one: a
// later one has been made by somebody who didn't wait for us. Every place that
// a VM may have a tap in is looked at, as its spec may have changed since.
func (l *Links) Release(ctx context.Context, ref vm.Ref, nics []vm.Network) error {
	l.follower.forget(func(t *watched) bool { return t.watch.ref.VM == ref.VM && t.watch.ref.Incarnation <= ref.Incarnation })
	wanted := false
	for _, nic := range nics {
		wanted = wanted || nic.Mode == vm.NetworkBridge
	}
	var failed error
	for i := range vm.MaxNetworks {
		if err := ctx.Err(); err != nil {
			return failure("remove the taps", errors.Join(failed, err))
		}
		name := host.LinkName(ref.Slot, i)
		err := l.release(name, ref)
		if err != nil && !wanted && host.KindOf(failure(name, err)) == host.Denied {
			return nil // who may not even look has never made one
		}
		if err != nil {
			failed = errors.Join(failed, failure("remove tap "+name, err))
		}
	}
	return failed
}

func (l *Links) release(name string, ref vm.Ref) error {
	link, err := byName(name)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if host.KindOf(err) == host.Broken {
		return nil // the alternative name of a foreign link
	}
	if err != nil {
		return err
	}
	_, tap := asTap(link)
	a, marked := parseAlias(link.Attrs().Alias)
	if !tap || !marked || a.node != l.config.Node || a.vm != ref.VM || a.number > ref.Incarnation { // P8
		return nil
	}
	return remove(link)
}
