package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// image is a guest on the disk. It may be loaded until that guest has run on:
// from then on the disks are ahead of its memory. A known-good state may be
// loaded again and again, until another one has replaced it.
type image struct {
	saved   vm.SavedState
	ran     bool // the guest that it holds has run on, in whichever VMM
	damaged bool
}

// imageOf names one of the images of a VM.
type imageOf struct {
	n    vm.Incarnation
	good bool // its known-good state
}

// by is what the fake VMM calls itself.
const by = "fake 1.0"

var (
	errNoImage = errors.New("no such saved guest")
	errCut     = errors.New("the saving was cut off")
)

// Images are the suspended guests of a VM that are whole.
func (w *World) Images(id vm.ID) []vm.Incarnation { return w.imagesOf(id, false) }

// Goods are the known-good states of a VM that are whole.
func (w *World) Goods(id vm.ID) []vm.Incarnation { return w.imagesOf(id, true) }

func (w *World) imagesOf(id vm.ID, good bool) []vm.Incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.Incarnation
	for of := range w.images[id] {
		if of.good == good {
			out = append(out, of.n)
		}
	}
	return out
}

// Restored says which known-good state the live VMM of an incarnation was launched with; 0: none.
func (w *World) Restored(id vm.ID, n vm.Incarnation) vm.Incarnation {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.live {
		if p.ref.VM == id && p.ref.Incarnation == n {
			return p.restored
		}
	}
	return 0
}

// Spoil damages the saved guests of a VM, so that no VMM loads them, or removes them.
func (w *World) Spoil(id vm.ID, gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for of, i := range w.images[id] {
		i.damaged = true
		if gone {
			delete(w.images[id], of)
		}
		w.spoilt[id] = true
		w.story("the guest that %s saved in incarnation %d is spoilt, known-good %v, gone %v", id, of.n, of.good, gone)
	}
}

// Spoilt says whether Spoil ever met a saved guest of that VM.
func (w *World) Spoilt(id vm.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.spoilt[id]
}

// Standing are the VMs whose live guest stands still.
func (w *World) Standing() map[vm.ID]bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[vm.ID]bool{}
	for _, p := range w.live {
		if p.state == host.GuestPaused || p.state == host.GuestSaved || p.state == host.GuestLoading {
			out[p.ref.VM] = true
		}
	}
	return out
}

func (driver) Loads(_ vm.Spec, s vm.SavedState) error {
	if s.By != by {
		return host.Fail(host.Broken, "load", fmt.Errorf("it was saved by %q", s.By))
	}
	return nil
}

type stateFile struct {
	d      *Daemon
	ref    vm.Ref
	good   bool
	holds  *process // whose guest was written
	saving int
}

func (f folders) NewState(ctx context.Context, ref vm.Ref, good bool, _ vm.Bytes) (host.StateFile, error) {
	if err := f.d.call(ctx, "save into "+string(ref.Name), 0); err != nil {
		return nil, err
	}
	f.d.world.mu.Lock()
	defer f.d.world.mu.Unlock()
	if f.d.world.full {
		return nil, host.Fail(host.Transient, "save into the disk", errors.New("no room"))
	}
	if f.d.dead() || ctx.Err() != nil {
		return nil, host.Fail(host.Transient, "save into the disk", errCut)
	}
	delete(f.d.world.images[ref.VM], imageOf{n: ref.Incarnation})
	return &stateFile{d: f.d, ref: ref, good: good}, nil
}

func (f folders) Kept(ctx context.Context, ref vm.Ref) (vm.SavedState, error) {
	if err := f.d.call(ctx, "look for a saved guest of "+string(ref.Name), 0); err != nil {
		return vm.SavedState{}, err
	}
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.images[ref.VM][imageOf{n: ref.Incarnation}]
	if one == nil {
		return vm.SavedState{}, host.Fail(host.Gone, "look for a saved guest", errNoImage)
	}
	return one.saved, nil
}

func (s *stateFile) Write(b []byte) (int, error) { return len(b), nil }

// Keep may fail after the file has its name, as a sync that tells of an error does.
func (s *stateFile) Keep(ctx context.Context) (vm.SavedState, error) {
	if err := s.d.call(ctx, "keep "+string(s.ref.Name), s.d.faults().Keep); err != nil {
		return vm.SavedState{}, err
	}
	w := s.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.d.dead() || s.holds == nil {
		return vm.SavedState{}, host.Fail(host.Transient, "keep", errCut)
	}
	one := &image{
		saved: vm.SavedState{At: time.Now(), Bytes: vm.MiB, Sum: uint32(s.saving), Good: s.good},
		ran:   s.holds.saving != s.saving || s.holds.state == host.GuestRuns,
	}
	if w.images[s.ref.VM] == nil {
		w.images[s.ref.VM] = map[imageOf]*image{}
	}
	w.images[s.ref.VM][imageOf{s.ref.Incarnation, s.good}] = one
	if !s.good {
		s.holds.images = append(s.holds.images, one)
	}
	if w.chance("late keep "+string(s.ref.Name), w.faults.LateKeep) {
		return vm.SavedState{}, host.Fail(host.Transient, "keep", errors.New("failed after the file had its name"))
	}
	return one.saved, nil
}

func (s *stateFile) Drop() {}

func (f folders) CheckState(ctx context.Context, ref vm.Ref, s vm.SavedState) error {
	if err := f.d.call(ctx, "check "+string(ref.Name), 0); err != nil {
		return err
	}
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	one := w.images[ref.VM][imageOf{s.Incarnation, s.Good}]
	if one == nil || one.saved.Sum != s.Sum {
		return host.Fail(host.Broken, "check", errNoImage)
	}
	return nil
}

func (f folders) HasState(ref vm.Ref, s vm.SavedState) error {
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.images[ref.VM][imageOf{s.Incarnation, s.Good}] == nil {
		return host.Fail(host.Broken, "look", errNoImage)
	}
	return nil
}

func (f folders) DropStates(ctx context.Context, r vm.Record) error {
	if err := f.d.call(ctx, "drop states "+string(r.Spec.Name), f.d.faults().Drop); err != nil {
		return err
	}
	w := f.d.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !f.d.dead() {
		w.dropStates(r)
	}
	return nil
}

// dropStates keeps to the words of host.States.
func (w *World) dropStates(r vm.Record) {
	for of := range w.images[r.ID] {
		named := host.StateName{Of: of.n, Good: of.good, Whole: true}.NamedBy(r.State)
		if !named && (of.n < r.State.Incarnation || of.n == r.State.Incarnation && r.State.Phase&vm.AtRest != 0) {
			delete(w.images[r.ID], of)
		}
	}
}

// Kind is what the fake VMM calls itself.
func (s *session) Kind(context.Context) (string, error) { return by, nil }

// Saves sets how long saving a guest takes from now on, besides a slow call.
func (w *World) Saves(takes time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saves = takes
}

// Save halts the guest at once and takes as long as a slow call, and as World.Saves says.
func (s *session) Save(ctx context.Context, into io.Writer) error {
	mine, takes := 0, time.Duration(0)
	err := s.with(ctx, func(p *process) {
		takes = p.world.saves
		p.saving++
		mine = p.saving
		if p.state == host.GuestSaved {
			p.state = host.GuestPaused
		}
		p.turn(host.GuestRuns, host.GuestPaused)
	})
	if err != nil {
		return err
	}
	if err := s.d.call(ctx, "save "+string(s.p.ref.Name), s.d.faults().Save); err != nil {
		return err
	}
	if err := wait(ctx, takes); err != nil {
		return host.Fail(host.Transient, "save", err)
	}
	cut := false
	err = s.with(ctx, func(p *process) {
		if cut = p.saving != mine || p.state != host.GuestPaused; cut {
			return
		}
		p.state = host.GuestSaved
		if f, ok := into.(*stateFile); ok {
			f.holds, f.saving = p, mine
		}
	})
	if err == nil && cut {
		err = host.Fail(host.Transient, "save", errCut)
	}
	return err
}

// runsOn: whatever holds this guest's memory is behind its disks from now on.
func (p *process) runsOn() {
	p.saving++
	for _, i := range p.images {
		i.ran = true
	}
	if p.loads && p.state == host.GuestRuns {
		p.loads = false
		p.boot()
	}
}

// Loaded waits until the saved guest is whole in its VMM.
func (s *session) Loaded(ctx context.Context) error {
	if err := s.d.call(ctx, "loaded "+string(s.p.ref.Name), 0); err != nil {
		return err
	}
	select {
	case <-s.p.loaded:
		return nil
	case <-s.p.gone:
		return host.Fail(host.Gone, "load", errNone)
	case <-ctx.Done():
		return host.Fail(host.Transient, "load", ctx.Err())
	}
}

// loadInto begins with the image that the command names instead of a boot.
func (w *World) loadInto(p *process, c host.Command) error {
	if len(c.Files) == 0 {
		return nil
	}
	n, ok := host.StateOf(path.Base(c.Files[0].Path))
	one := w.images[c.Ref.VM][imageOf{n.Of, n.Good}]
	if !ok || !n.Whole || one == nil {
		return errNoImage
	}
	p.loads, p.state = true, host.GuestLoading
	if n.Good {
		p.restored = n.Of
	} else {
		p.images = []*image{one}
	}
	if one.ran && !n.Good {
		w.promise("P17", "%s/%d loads what incarnation %d saved, and that guest has run on", c.Ref.Name, c.Ref.Incarnation, n.Of)
	}
	p.later(time.Millisecond, func() {
		if one.damaged {
			p.end(vm.Exit{Known: true, Signal: 11}, true)
			return
		}
		p.turn(host.GuestLoading, host.GuestPaused)
		close(p.loaded)
	})
	return nil
}

// SetTime only counts: the fake guest has no clock.
func (c *agentConn) SetTime(ctx context.Context, _ func() time.Time) error {
	if err := c.Ping(ctx); err != nil {
		return err
	}
	c.d.world.mu.Lock()
	defer c.d.world.mu.Unlock()
	c.p.timed++
	return nil
}
