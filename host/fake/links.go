package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// tap is the host's end of one NIC. It outlives the daemon, and no power cut.
type tap struct {
	ref      vm.Ref // the incarnation in its alias
	index    int
	watchers map[*linkWatcher]bool
	broken   bool // its bridge was taken away
}

// linkWatcher is one call of Watch; done once it was cancelled.
type linkWatcher struct {
	daemon *Daemon
	tell   func(host.LinkNotice)
	// Under the world's lock.
	done  bool
	queue []host.LinkNotice
	busy  bool // a goroutine tells
}

type links struct{ d *Daemon }

var errNoTap = errors.New("no such tap")

// Ensure may fail before, or, with the late dice, after all taps exist.
func (l links) Ensure(ctx context.Context, ref vm.Ref, nics []vm.Network, _, _ int) ([]string, error) {
	if err := l.d.call(ctx, "ensure links "+string(ref.Name), l.d.faults().Ensure); err != nil {
		return nil, err
	}
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.d.dead() {
		return nil, host.Fail(host.Transient, "ensure links", errDead)
	}
	var repaired []string
	for _, name := range tapNames(ref, nics) {
		t := w.taps[name]
		switch {
		case t != nil && w.find(t.ref) != nil:
			return repaired, host.Fail(host.Transient, "make tap "+name, fmt.Errorf("it is held by process %d", w.find(t.ref).process.PID))
		case t != nil && t.ref.VM != ref.VM:
			repaired = append(repaired, fmt.Sprintf("tap %s was made anew: it was left by VM %s", name, t.ref.VM))
			t = nil
		}
		if t == nil {
			w.made++
			t = &tap{index: w.made}
			w.taps[name] = t
		}
		t.ref, t.watchers, t.broken = ref, map[*linkWatcher]bool{}, false
	}
	if w.chance("late ensure links "+string(ref.Name), w.faults.LateEnsure) {
		return repaired, host.Fail(host.Transient, "ensure links", errors.New("failed after the taps were made"))
	}
	return repaired, nil
}

// tapNames are those of the NICs that have one.
func tapNames(ref vm.Ref, nics []vm.Network) []string {
	var out []string
	for i, n := range nics {
		if n.Mode == vm.NetworkBridge {
			out = append(out, host.LinkName(ref.Slot, i))
		}
	}
	return out
}

// Release removes every tap of the VM up to this incarnation.
func (l links) Release(ctx context.Context, ref vm.Ref, _ []vm.Network) error {
	if err := l.d.call(ctx, "release links "+string(ref.Name), l.d.faults().Unlink); err != nil {
		return err
	}
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if l.d.dead() {
		return host.Fail(host.Transient, "release links", errDead)
	}
	for name, t := range w.taps {
		if t.ref.VM != ref.VM || t.ref.Incarnation > ref.Incarnation {
			continue
		}
		if p := w.find(t.ref); p != nil {
			w.promise("P7", "%s: tap %s was released while incarnation %d lives", ref.Name, name, p.ref.Incarnation)
		}
		delete(w.taps, name)
	}
	return nil
}

// Watch tells of taps that are taken away or cut off, and at once of those that
// are already.
func (l links) Watch(ref vm.Ref, nics []vm.Network, tell func(host.LinkNotice)) func() {
	l.d.bug("watch links")
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	one := &linkWatcher{daemon: l.d, tell: tell}
	for _, name := range tapNames(ref, nics) {
		if t := w.taps[name]; t != nil && t.ref.VM == ref.VM && t.ref.Incarnation <= ref.Incarnation {
			t.watchers[one] = true
			if t.broken {
				one.hear(w, cutOff(name), false)
			}
		} else {
			one.hear(w, lost(name), false)
		}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		one.done = true
		for _, t := range w.taps {
			delete(t.watchers, one)
		}
	}
}

// hear has the notice told, in order. It is called under the world's lock.
func (o *linkWatcher) hear(w *World, n host.LinkNotice, twice bool) {
	o.queue = append(o.queue, n)
	if twice {
		o.queue = append(o.queue, n)
	}
	if !o.busy {
		o.busy = true
		go o.deliver(w)
	}
}

func (o *linkWatcher) deliver(w *World) {
	for {
		w.mu.Lock()
		if o.done || o.daemon.dead() {
			o.queue = nil
		}
		if len(o.queue) == 0 {
			o.busy = false
			w.mu.Unlock()
			return
		}
		n := o.queue[0]
		o.queue = o.queue[1:]
		w.mu.Unlock()
		o.tell(n)
	}
}

func lost(name string) host.LinkNotice {
	return host.LinkNotice{Link: name, Lost: true, Why: "tap " + name + " was taken away"}
}

func cutOff(name string) host.LinkNotice {
	return host.LinkNotice{Link: name, Broken: true, Why: "the bridge was taken away: tap " + name + " is put into it when it is there again"}
}

func healed(name string) host.LinkNotice {
	return host.LinkNotice{Link: name, Why: "tap " + name + " was in no bridge and is in its bridge again"}
}

// List is in the order of the names.
func (l links) List(context.Context) ([]vm.FoundLink, error) {
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.FoundLink
	for _, name := range w.tapsOf(func(vm.Ref) bool { return true }) {
		t := w.taps[name]
		out = append(out, vm.FoundLink{Name: name, Index: t.index, VM: t.ref.VM, Number: t.ref.Incarnation})
	}
	return out, nil
}

// Remove tells the tap's watchers, as of any other loss.
func (l links) Remove(ctx context.Context, f vm.FoundLink) error {
	if err := l.d.call(ctx, "remove link "+f.Name, l.d.faults().Unlink); err != nil {
		return err
	}
	w := l.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.taps[f.Name]
	if l.d.dead() || t == nil || t.index != f.Index || t.ref.VM != f.VM || t.ref.Incarnation != f.Number {
		return nil
	}
	if p := w.find(t.ref); p != nil {
		w.promise("P6", "%s: tap %s was removed while incarnation %d lives", t.ref.Name, f.Name, p.ref.Incarnation)
	}
	w.cut(f.Name)
	return nil
}

// Unplug deletes a tap under the running guest of the VM, from outside; false:
// none of its guests that run has one.
func (w *World) Unplug(id vm.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	of := w.tapsOf(func(r vm.Ref) bool { return r.VM == id && w.find(r) != nil })
	if len(of) == 0 {
		return false
	}
	w.story("tap %s was deleted from outside", of[0])
	w.cut(of[0])
	return true
}

// CutOff takes the bridge away from the taps of the VM's running guests, from
// outside, or puts it back; false: there was nothing to do.
func (w *World) CutOff(id vm.ID, off bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed := false
	for _, name := range w.tapsOf(func(r vm.Ref) bool { return r.VM == id && w.find(r) != nil }) {
		t, notice := w.taps[name], healed(name)
		if t.broken == off {
			continue
		}
		if off {
			notice = cutOff(name)
		}
		t.broken, changed = off, true
		w.story("%s", notice.Why)
		w.spread(t, notice)
	}
	return changed
}

// Taps are the names of the VM's taps, in order.
func (w *World) Taps(id vm.ID) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tapsOf(func(r vm.Ref) bool { return r.VM == id })
}

// tapsOf, cut and spread are called under the world's lock.
func (w *World) tapsOf(which func(vm.Ref) bool) []string {
	var out []string
	for name, t := range w.taps {
		if which(t.ref) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (w *World) cut(name string) {
	t := w.taps[name]
	delete(w.taps, name)
	w.spread(t, lost(name))
}

func (w *World) spread(t *tap, n host.LinkNotice) {
	twice := w.chance("twice "+string(t.ref.Name), w.faults.Twice)
	for one := range t.watchers {
		one.hear(w, n, twice)
	}
}

// plugged says why the taps that a command inherits can't be opened.
func (w *World) plugged(c host.Command) error {
	for _, t := range c.Taps {
		if have := w.taps[t.Link]; have == nil || have.ref.VM != c.Ref.VM {
			return fmt.Errorf("tap %s: %w", t.Link, errNoTap)
		}
	}
	return nil
}
