package runner

import (
	"context"
	"errors"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Balloon is refused.
func (s *session) Balloon(context.Context, vm.Bytes) error { return noBalloon("balloon") }

// Left is refused.
func (s *session) Left(context.Context) (vm.Bytes, error) { return 0, noBalloon("look at the balloon") }

// Memory is refused.
func (s *session) Memory(context.Context) (host.GuestMemory, error) {
	return host.GuestMemory{}, noBalloon("read the guest's memory")
}

func noBalloon(doing string) error {
	return host.Fail(host.Broken, doing, errors.New("only a runner of QEMU's with a control socket has a balloon that we know"))
}
