package sim

import (
	"context"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// hungDriver takes a socket that is gone for a VMM that doesn't answer.
type hungDriver struct{ host.Driver }

func (d hungDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	s, err := d.Driver.Attach(ctx, spec, f, notice)
	if host.KindOf(err) == host.Gone {
		err = host.Fail(host.Transient, "attach", err)
	}
	return s, err
}
