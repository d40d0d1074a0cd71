package fake

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Daemon is one life of the daemon on this machine: when it is crashed, its
// ports do nothing more, as if its process were gone between two instructions.
type Daemon struct {
	world   *World
	crashed atomic.Bool
}

// Daemon begins a life of the daemon.
func (w *World) Daemon() *Daemon {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.barred = map[vm.ID]vm.Incarnation{}
	return &Daemon{world: w}
}

// Crash is SIGKILL for the daemon: no guest notices.
func (d *Daemon) Crash() { d.crashed.Store(true) }

func (d *Daemon) dead() bool { return d.crashed.Load() }

var errDead = errors.New("the daemon is gone")

// Ports are the ports of this life.
func (d *Daemon) Ports() host.Ports {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return host.Ports{
		Launcher: launcher{d}, Driver: driver{d}, Agent: agent{d}, Console: console{d}, Folders: folders{d}, Salvage: salvage{d}, Links: links{d}, Machine: machine{d}, Meter: meter{d}, Reach: reach{d}, Bundles: bundles{d},
		Clock: clock{d}, BootID: d.world.boot, Spread: d.spread,
	}
}

func (d *Daemon) spread() float64 {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return d.world.drawn("spread").Float64()
}

// call is the fate of one call of a port: it may be slow, and fail.
func (d *Daemon) call(ctx context.Context, what string, fails float64) error {
	d.world.mu.Lock()
	slow := time.Duration(0)
	if d.world.chance("slow "+what, d.world.faults.Slow) {
		slow = time.Duration(d.world.drawn("slow " + what).Int64N(int64(d.world.faults.MaxSlow) + 1))
	}
	failed := d.world.chance(what, fails)
	d.world.mu.Unlock()
	if err := wait(ctx, slow); err != nil {
		return host.Fail(host.Transient, "wait", err)
	}
	if d.dead() {
		return host.Fail(host.Transient, "call", errDead)
	}
	if failed {
		return host.Fail(host.Transient, "call", errors.New("drawn to fail"))
	}
	return nil
}

// wait lets the time pass. A timer of no time at all would ring in the select
// itself, which Go 1.26's race detector doesn't survive in a bubble of synctest.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bug panics in the caller's goroutine, by chance: a bug of ours there.
func (d *Daemon) bug(what string) {
	d.world.mu.Lock()
	hit := d.world.chance("bug "+what, d.world.faults.Bug)
	d.world.mu.Unlock()
	if hit && !d.dead() {
		panic("a bug was drawn")
	}
}

func (d *Daemon) faults() Faults {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	return d.world.faults
}

type clock struct{ d *Daemon }

func (c clock) Now() time.Time { return time.Now() }

func (c clock) After(wait time.Duration, f func()) func() {
	t := time.AfterFunc(wait, func() {
		if !c.d.dead() {
			f()
		}
	})
	return func() { t.Stop() }
}
