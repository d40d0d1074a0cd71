package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host/netlink"
	"github.com/blixard/blixard/host/systemd"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// bootConfig says how VMs come back when the node has booted.
type bootConfig struct {
	Policy   string   `yaml:"policy"`   // restart-all, restart-healthy or manual; empty: restart-all
	Parallel int      `yaml:"parallel"` // the most that start at once; 0: twice as many as there are processors
	Slow     duration `yaml:"slow"`     // a start that takes longer lets the next one begin; 0: 1m
	// Pressure is the percent of PSI's "some" over ten seconds at which nothing more is started; 0: the default.
	Pressure struct {
		CPU    float64 `yaml:"cpu"`
		Memory float64 `yaml:"memory"`
		IO     float64 `yaml:"io"`
	} `yaml:"pressure"`
}

// bridgeConfig is a bridge that the node makes when a VM first wants it; all others must exist.
type bridgeConfig struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"` // the host's own address in it, such as 10.0.0.1/24; empty: none
}

// duration reads 90s or 2m.
type duration time.Duration

// UnmarshalText reads a duration as people write it.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	switch {
	case err != nil:
		return fmt.Errorf("%q is no span of time, such as 500ms, 10s or 4m", b)
	case v < 0:
		return fmt.Errorf("%q is negative, and a span of time isn't", b)
	}
	*d = duration(v)
	return nil
}

// conduct is how the node boots.
func (c config) conduct() actors.Conduct {
	out := actors.Conduct{
		Policy: policies.BootPolicy(c.Boot.Policy), Parallel: c.Boot.Parallel, Slow: time.Duration(c.Boot.Slow), Strain: policies.DefaultStrain,
	}
	for _, one := range []struct{ set, to *float64 }{
		{&c.Boot.Pressure.CPU, &out.Strain.CPU}, {&c.Boot.Pressure.Memory, &out.Strain.Memory}, {&c.Boot.Pressure.IO, &out.Strain.IO},
	} {
		if *one.set > 0 {
			*one.to = *one.set
		}
	}
	return out
}

// shutdownWithin is a minute less than what the packaged unit gives us to stop.
func (c config) shutdownWithin() time.Duration {
	if c.Shutdown.Within > 0 {
		return time.Duration(c.Shutdown.Within)
	}
	return 4 * time.Minute
}

// check reads what the file's syntax doesn't say.
func (c *config) check() error {
	switch policies.BootPolicy(c.Boot.Policy) {
	case "", policies.RestartAll, policies.RestartHealthy, policies.BootManual:
	default:
		return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("boot.policy is %.60q", c.Boot.Policy), Try: "restart-all, restart-healthy or manual"}
	}
	if c.Boot.Parallel < 0 {
		return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("boot.parallel is %d", c.Boot.Parallel), Try: "a number from 1 on, or leave it out"}
	}
	var err error
	if c.shares, err = c.Resources.terms(); err != nil {
		return err
	}
	if c.shares.Alerts, err = c.Alerts.marks(); err != nil {
		return err
	}
	c.shares.Reclaim = c.Reclaim.rules()
	if c.bundles, err = c.Crashes.quota(); err != nil {
		return err
	}
	for _, b := range c.Bridges {
		one := netlink.Bridge{Name: b.Name}
		if b.Address != "" {
			address, err := netip.ParsePrefix(b.Address)
			if err != nil {
				return &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("bridges: the address of %.15q is %.60q: %v", b.Name, b.Address, err), Try: "address: 10.0.0.1/24"}
			}
			one.Address = address
		}
		c.bridges = append(c.bridges, one)
	}
	return nil
}

// goDown stops the VMs where it is the machine that ends us: what isn't down
// when the machine is, is cut off. Their intent stays (P5).
func (d *daemon) goDown() {
	ctx, cancel := context.WithTimeout(context.Background(), d.conf.shutdownWithin()+time.Second)
	defer cancel()
	down, err := systemd.GoingDown(ctx)
	if err != nil {
		d.log.Warn("nobody says whether the machine goes down; VMs are left alone", zap.Error(err))
	}
	if !down {
		return
	}
	d.told(d.service.Stopping("the machine goes down: stopping VMs"))
	by := messages.Caller{UID: os.Geteuid(), PID: os.Getpid(), Name: "shutdown of the machine"}
	if err := d.node.Shutdown(ctx, d.conf.shutdownWithin(), by); err != nil {
		d.log.Warn("not every VM is down", zap.Error(err))
	}
}
