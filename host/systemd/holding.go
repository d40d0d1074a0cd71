package systemd

import (
	"github.com/blixard/blixard/host/cgroup"
	"github.com/blixard/blixard/vm"
)

// Holding is what the cgroups that systemd has here can hold.
func (l *Launcher) Holding() vm.Holding { return cgroup.Systemd() }
