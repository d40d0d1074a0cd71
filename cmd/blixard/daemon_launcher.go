package main

import (
	"context"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/process"
	"github.com/blixard/blixard/host/systemd"
	"github.com/blixard/blixard/vm"
)

// The launchers that may be asked for.
const (
	launcherAuto    = "auto"
	launcherSystemd = systemd.Name
	launcherProcess = process.Name
)

// openLauncher makes the launcher that was asked for or, by itself, systemd's
// where it can be had. Either adopts what the other has launched.
func (d *daemon) openLauncher(boot vm.BootID, id string) (host.Launcher, error) {
	lock := filepath.Join(d.state, "launcher.lock")
	if d.launcher != launcherProcess {
		l, err := d.openSystemd(boot, id, lock)
		if err == nil {
			d.later(func() { _ = l.Close() })
			return l, nil
		}
		if d.launcher == launcherSystemd {
			return nil, err
		}
		d.noSystemd = err.Error()
		d.log.Info("VMMs are processes of their own", zap.String("why", d.noSystemd))
	}
	l, err := process.New(process.Config{Node: id, BootID: boot, Lock: lock})
	if err != nil {
		return nil, err
	}
	d.later(func() { _ = l.Close() })
	return l, nil
}

func (d *daemon) openSystemd(boot vm.BootID, id, lock string) (*systemd.Launcher, error) {
	if err := systemd.Available(context.Background()); err != nil {
		return nil, host.Fail(host.Broken, "use systemd as launcher", err)
	}
	return systemd.New(systemd.Config{Node: id, BootID: boot, Lock: lock, Reconnected: func() {
		d.log.Info("systemd answers again")
		if n := d.tree.Load(); n != nil {
			n.Look() // what ended meanwhile is found
		}
	}})
}

func (d *daemon) checkLauncher() gateway.Finding {
	if d.ports.Launcher.Name() == launcherSystemd {
		return ok("launcher", "each VMM is a unit of systemd in blixard.slice")
	}
	why := "VMMs are processes of their own (launcher process): how a VMM ended while no daemon ran can't be known"
	if d.noSystemd != "" {
		why += "; systemd: " + d.noSystemd
	}
	return gateway.Finding{
		Check: "launcher", State: "warn", Why: why,
		Try: "run the daemon as root on a machine that systemd has booted, with blixard-vmm where make install or make build puts it; or live with what this launcher can do",
	}
}
