package main

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host/image"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// lowDisk is when the state folder's filesystem counts as nearly full.
const lowDisk = 5 // percent free

// doctor looks at what VMs need of this machine, and says what to do.
func (d *daemon) doctor(ctx context.Context) []gateway.Finding {
	return []gateway.Finding{d.checkQEMU(), d.checkAccel(), d.checkImage(), d.checkDisk(), d.checkBundles(ctx), d.checkLauncher(), d.checkLimits(), d.checkCores(), d.checkResources()} //nolint:contextcheck // each look is bounded by itself
}

func ok(check, why string) gateway.Finding {
	return gateway.Finding{Check: check, State: "ok", Why: why}
}

func (d *daemon) checkQEMU() gateway.Finding {
	binary, err := d.vmms.binary()
	if err != nil {
		return gateway.Finding{Check: "qemu", State: "fail", Why: err.Error(), Try: "apt-get install qemu-system-x86, then start the daemon again"}
	}
	v, err := qemu.Version(binary)
	if err != nil {
		return gateway.Finding{Check: "qemu", State: "fail", Why: err.Error(), Try: "install QEMU 7.2 or newer"}
	}
	return ok("qemu", fmt.Sprintf("%s, version %s", binary, v))
}

func (d *daemon) checkAccel() gateway.Finding {
	accel, why := d.vmms.accel()
	if accel == qemu.AccelKVM {
		return ok("acceleration", why)
	}
	return gateway.Finding{
		Check: "acceleration", State: "warn", Why: "guests are emulated (TCG), many times slower than KVM: " + why,
		Try: "on bare metal, enable virtualisation in the firmware and load kvm_intel or kvm_amd",
	}
}

func (d *daemon) checkImage() gateway.Finding {
	i, err := image.Resolve(filepath.Join(d.state, "images", "builtin"))
	if err != nil {
		return gateway.Finding{Check: "builtin-image", State: "warn", Why: err.Error(), Try: "blixard image build --kernel-root DIR, where DIR has boot/ and lib/modules of a kernel package"}
	}
	return ok("builtin-image", "kernel "+i.Release)
}

func (d *daemon) checkDisk() gateway.Finding {
	var s unix.Statfs_t
	if err := unix.Statfs(d.state, &s); err != nil {
		return gateway.Finding{Check: "disk", State: "fail", Why: fmt.Sprintf("look at %s: %v", d.state, err), Try: "mend the state folder"}
	}
	free, all := vm.Bytes(s.Bavail)*vm.Bytes(s.Frsize), vm.Bytes(s.Blocks)*vm.Bytes(s.Frsize)
	why := fmt.Sprintf("%s of %s free in %s", free.Rounded(), all.Rounded(), d.state)
	if free < all*lowDisk/100 {
		return gateway.Finding{Check: "disk", State: "warn", Why: why, Try: "free some space: without it nothing can be written down, so nothing can be started"}
	}
	return ok("disk", why)
}
