package main

import (
	"context"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/capacity"
	"github.com/blixard/blixard/host/image"
	"github.com/blixard/blixard/host/kernellog"
	"github.com/blixard/blixard/host/meter"
	"github.com/blixard/blixard/host/pressure"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/host/runner"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// vmms is the driver of QEMU, made at its first use: a daemon without QEMU
// still answers, and a probe of KVM holds no start of the daemon up.
type vmms struct {
	driver func() (*qemu.Driver, error)
	runner *runner.Driver
	accel  func() (name, why string)
	binary func() (string, error)
	known  atomic.Pointer[string] // the acceleration, once it is decided
}

func newVMMs(d *daemon, owners host.Owners, images string) *vmms {
	v := &vmms{
		runner: runner.New(runner.Config{
			Owners: owners, KVMGroup: groupOf("/dev/kvm"), Node: d.id, Cache: filepath.Join(d.state, "nix"),
			Tell: func(ref vm.Ref, sentence string) { d.log.Info(sentence, zap.String("vm", string(ref.Name))) },
		}),
		binary: sync.OnceValues(func() (string, error) { return qemu.Find(d.conf.VMM.QEMU) }),
	}
	probe := probeOnce(d, v.binary)
	v.accel = func() (string, string) {
		name, why := probe()
		v.known.Store(&name)
		return name, why
	}
	go v.accel() // in the background: the first start needs it, and status shows it
	v.driver = sync.OnceValues(func() (*qemu.Driver, error) {
		binary, err := v.binary()
		if err != nil {
			return nil, err
		}
		accel, _ := v.accel()
		return qemu.New(qemu.Config{
			Binary: binary, Accel: accel, TSCKHz: qemu.HostTSCKHz(), Images: imagesIn(images), Owners: owners,
			KVMGroup: groupOf("/dev/kvm"), CoreLimit: policies.CoreAtMost(d.conf.bundles),
		}), nil
	})
	return v
}

// kernelLog is nil where it can't be read: then a VMM that the kernel killed for
// want of memory may look like one that anybody killed.
func (d *daemon) kernelLog() host.KernelLog {
	log, err := kernellog.Open()
	if err != nil {
		d.log.Info("the kernel's log isn't asked", zap.Error(err))
		return nil
	}
	return log
}

// accelerated is how VMMs are accelerated, as far as that is decided.
func (v *vmms) accelerated() string {
	if known := v.known.Load(); known != nil {
		return *known
	}
	return "probing"
}

// groupOf is the group of a device; 0, which adds nothing to root's, where it isn't there.
func groupOf(path string) int {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return 0
	}
	return int(s.Gid)
}

// probeOnce decides on the acceleration, at most once in a life and, by its
// cache, once in a boot of the node.
func probeOnce(d *daemon, binary func() (string, error)) func() (name, why string) {
	return sync.OnceValues(func() (string, string) {
		if d.accel != "auto" {
			return d.accel, "asked for by --accel"
		}
		path, err := binary()
		if err != nil {
			return qemu.AccelTCG, err.Error()
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return qemu.Probe(ctx, path, filepath.Join(d.state, "accel.json"), d.boot)
	})
}

// imagesIn finds the images that `blixard image build` made.
func imagesIn(dir string) func(name string) (qemu.Image, error) {
	return func(name string) (qemu.Image, error) {
		i, err := image.Resolve(filepath.Join(dir, name))
		if err != nil {
			return qemu.Image{}, err
		}
		return qemu.Image{Kernel: i.Kernel, Initrd: i.Initrd, Cmdline: i.Cmdline}, nil
	}
}

// of picks the driver of a VM by what it boots.
func (v *vmms) of(spec vm.Spec) (host.Driver, error) {
	if spec.Boot.Built() {
		return v.runner, nil
	}
	return v.driver()
}

// Command computes what to launch.
func (v *vmms) Command(ref vm.Ref, spec vm.Spec, f host.Paths) (host.Command, error) {
	d, err := v.of(spec)
	if err != nil {
		return host.Command{}, err
	}
	return d.Command(ref, spec, f)
}

// Attach opens the control session.
func (v *vmms) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	if runner.Started(f) { // whatever the spec says by now
		return v.runner.Attach(ctx, spec, f, notice)
	}
	d, err := v.driver()
	if err != nil {
		return nil, err
	}
	return d.Attach(ctx, spec, f, notice)
}

// Prepare makes what the kind of VMM needs. A restart takes nothing back, so
// what a runner has left that the spec doesn't name any more goes now: else the
// session would be its own.
func (v *vmms) Prepare(ctx context.Context, ref vm.Ref, spec vm.Spec, f host.Paths) error {
	d, err := v.of(spec)
	if err != nil {
		return err
	}
	if d != v.runner {
		if err := v.runner.Release(ctx, ref, spec, f); err != nil {
			return err
		}
	}
	return d.Prepare(ctx, ref, spec, f)
}

// Release takes it back.
func (v *vmms) Release(ctx context.Context, ref vm.Ref, spec vm.Spec, f host.Paths) error {
	return v.runner.Release(ctx, ref, spec, f) // QEMU holds nothing beside, and a new spec may hide that a runner was started
}

// Loads says why a saved guest can't be loaded, where that can be known.
func (v *vmms) Loads(spec vm.Spec, s vm.SavedState) error {
	d, err := v.of(spec)
	if err != nil {
		return nil //nolint:nilerr // Command fails by it, and not because of the saved guest
	}
	return d.Loads(spec, s)
}

func (v *vmms) agent() host.Agent { return qemu.Agent{} }

// meter measures VMMs and the node.
func (d *daemon) meter(launcher string) host.Meter {
	return meter.New(meter.Config{
		Proc: procfs.Default.Root, State: d.state, BootID: d.boot, Pressure: pressure.Machine{Proc: procfs.Default.Root}.Pressure,
		Use: d.capacity(launcher).Use,
	})
}

// status is what node status shows beside the actors.
func (d *daemon) status() gateway.Status {
	return gateway.Status{
		Version: buildVersion(), BootID: d.boot, Launcher: d.ports.Launcher.Name(), Accel: d.vmms.accelerated(), StateDir: d.state,
		Goroutines: runtime.NumGoroutine(), FDs: openFiles(),
	}
}

// machine is the machine that we run on.
type machine struct {
	pressure.Machine
	capacity.Reader
}

func (d *daemon) machine(launcher string) host.Machine {
	return machine{pressure.Machine{Proc: procfs.Default.Root}, d.capacity(launcher)}
}

func (d *daemon) capacity(launcher string) capacity.Reader {
	of := capacity.Reader{State: d.state}
	if launcher == launcherSystemd {
		of.Slice = proof.Slice // there its VMMs are, and not where we are
	}
	return of
}

// openFiles counts our descriptors; 0 where /proc doesn't tell.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// wallClock is the machine's clock.
type wallClock struct{}

func (wallClock) Now() time.Time { return time.Now() }

func (wallClock) After(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

func spread() float64 { return mrand.Float64() }
