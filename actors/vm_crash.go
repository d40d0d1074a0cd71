package actors

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// The evidence of a death goes to the disk off every mailbox, after the turn is
// durable and its effects are on their way, so that no restart waits for it:
//
//	vm/<name>  turn with a Crash ─▶ env.evidence  line of the VM ─▶ Bundles.Keep, Enforce
//
// What a daemon that died had not written, the next one writes as it wakes, from
// what is left.
const (
	bundleLine    = 16               // deaths that wait while one is written; a crash loop makes no more of them
	bundleWriters = 2                // of all VMs at once: a boot of the node must not be held up by the disk
	bundleTime    = 30 * time.Second // for one, on a disk that is slow

	// A bundle's writing beside the start of the next VMM would cost that start as
	// much as it takes: it waits until a start at once has its processor and disk.
	bundleRest = 250 * time.Millisecond
	missedWhys = 50 // of each VM: as many crashes as the store keeps
)

// evidence writes bundles, those of one VM one after the other.
type evidence struct {
	ports   host.Ports
	log     *zap.Logger
	quota   vm.BundleQuota
	low     func() string
	last    func(id vm.ID, limit int) ([]vm.Crash, error)
	turns   chan struct{}
	ctx     context.Context //nolint:containedctx // ends with the node: no bundle is begun after that
	cancel  context.CancelFunc
	writing sync.WaitGroup

	mu sync.Mutex
	by map[vm.ID]*deaths
}

// deaths are those of one VM that have no bundle yet, or never will.
type deaths struct {
	busy    bool
	waiting []death
	missed  map[uint64]string // why a crash has no bundle, as far as this daemon knows
}

// death is one that is to be told of.
type death struct {
	ref     vm.Ref
	bundle  vm.Bundle
	words   func() []byte // of a guest that was reset, where the notes have none yet
	asleep  bool          // it may have been before this daemon woke: the store says which it was
	release func()
}

func newEvidence(e *env, q vm.BundleQuota) *evidence {
	v := &evidence{
		ports: e.ports, log: e.log, quota: q, low: e.lowSpace, last: e.store.Crashes,
		turns: make(chan struct{}, bundleWriters), by: map[vm.ID]*deaths{},
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	if e.ports.Bundles != nil && e.safe == "" {
		v.writing.Go(v.enforce)
	}
	return v
}

// close gives up what waits, and waits for what is being written until ctx ends.
func (v *evidence) close(ctx context.Context) {
	v.cancel()
	over := make(chan struct{})
	go func() {
		v.writing.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// died is called by the VM's actor after a turn with a crash.
func (v *vmActor) died(before vm.Record, c *vm.Crash, f *vm.Failure) {
	if c == nil {
		return
	}
	one := death{ref: before.Ref(), bundle: vm.Bundle{Crash: *c, VM: before.ID, Name: before.Spec.Name, Spec: before.Spec}}
	one.ref.Incarnation = c.Failure.Incarnation
	if p := before.State.Process; p != nil {
		one.bundle.PID = p.PID
	}
	if began := before.State.Runs; before.State.Pending && began != nil {
		one.bundle.Spec = began.Spec
	}
	if f == nil {
		f = &c.Failure // its deadline's
	}
	if f.Notes == nil && v.notes != nil && v.begun == c.Failure.Incarnation {
		noted := v.env.noted(*f, v.notes, before.ID, before.State.Process)
		f, one.words = &noted, v.notes.wordsOf()
	}
	one.bundle.Notes = f.Notes
	v.env.evidence.add(one)
}

// owed is called by the VM's actor as it wakes: the daemon before may have died
// between a death and its bundle.
func (v *vmActor) owed() {
	s := v.rec.State
	if s.Crashes == 0 || v.env.safe != "" {
		return
	}
	ref := v.rec.Ref()
	if s.LastExit != nil {
		ref.Incarnation = s.LastExit.Failure.Incarnation // whose logs are held
	}
	v.env.evidence.add(death{
		ref: ref, asleep: true,
		bundle: vm.Bundle{Crash: vm.Crash{Number: s.Crashes}, VM: v.rec.ID, Name: v.rec.Spec.Name, Spec: v.rec.Spec},
	})
}

// add never blocks.
func (v *evidence) add(d death) {
	if v.ports.Bundles == nil || v.ctx.Err() != nil {
		return
	}
	id := d.ref.VM
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.by[id]
	if of == nil {
		of = &deaths{missed: map[uint64]string{}}
		v.by[id] = of
	}
	if len(of.waiting) >= bundleLine {
		of.miss(d.bundle.Crash.Number, fmt.Sprintf("it died faster than its evidence is written: %d deaths waited already", bundleLine))
		v.log.Warn("the evidence of a death is not kept", zap.String("vm", string(d.ref.Name)),
			zap.Uint64("crash", d.bundle.Crash.Number), zap.String("why", of.missed[d.bundle.Crash.Number]))
		return
	}
	d.release = v.ports.Bundles.Hold(d.ref)
	if of.busy {
		of.waiting = append(of.waiting, d)
		return
	}
	of.busy = true
	v.writing.Go(func() { v.write(id, d) })
}

// miss remembers why there is no bundle. The evidence's lock is held.
func (d *deaths) miss(n uint64, why string) {
	d.missed[n] = why
	for old := range d.missed {
		if old+missedWhys <= n {
			delete(d.missed, old)
		}
	}
}

// write writes one after the other until none waits.
func (v *evidence) write(id vm.ID, d death) {
	v.rest(d)
	for {
		why := v.keep(d)
		d.release()
		v.mu.Lock()
		of := v.by[id]
		if why != "" {
			of.miss(d.bundle.Crash.Number, why)
		}
		if len(of.waiting) == 0 {
			of.busy = false
			if len(of.missed) == 0 {
				delete(v.by, id)
			}
			v.mu.Unlock()
			return
		}
		d, of.waiting = of.waiting[0], of.waiting[1:]
		v.mu.Unlock()
	}
}

// rest lets the next incarnation begin first.
func (v *evidence) rest(d death) {
	if d.asleep {
		return
	}
	over := make(chan struct{})
	cancel := v.ports.Clock.After(bundleRest, func() { close(over) })
	defer cancel()
	select {
	case <-over:
	case <-v.ctx.Done():
	}
}

// keep writes one, and says why it did not.
func (v *evidence) keep(d death) string {
	ctx, cancel := context.WithTimeout(v.ctx, bundleTime)
	defer cancel()
	select {
	case v.turns <- struct{}{}:
		defer func() { <-v.turns }()
	case <-ctx.Done():
		return "the disk was too slow for the bundles of others"
	}
	began := v.ports.Clock.Now()
	owed, err := v.find(ctx, &d)
	if err == nil && !owed {
		return ""
	}
	if why := v.low(); err == nil && why != "" {
		err = host.Fail(host.Transient, "keep its evidence", fmt.Errorf("%s", why))
	}
	if d.words != nil {
		d.bundle.Notes.Console = d.words()
	}
	var kept vm.KeptBundle
	if err == nil {
		kept, err = v.ports.Bundles.Keep(ctx, d.ref, d.bundle)
	}
	if host.KindOf(err) == host.Gone || v.ctx.Err() != nil {
		return "" // with its VM, or written by the next daemon
	}
	if err != nil {
		v.log.Warn("the evidence of a death is not kept", zap.String("vm", string(d.ref.Name)),
			zap.Uint64("crash", d.bundle.Crash.Number), zap.Error(err))
		return err.Error()
	}
	v.log.Info("the evidence of a death is kept", zap.String("vm", string(d.ref.Name)), zap.Uint64("crash", kept.Number),
		zap.Int64("bytes", int64(kept.Bytes)), zap.Duration("took", v.ports.Clock.Now().Sub(began)))
	v.enforce()
	return ""
}

// find looks for a death that the daemon before may have left without its bundle.
func (v *evidence) find(ctx context.Context, d *death) (owed bool, err error) {
	if !d.asleep {
		return true, nil
	}
	owed, err = v.ports.Bundles.Owed(ctx, d.ref, d.bundle.Crash.Number)
	if err != nil || !owed {
		return false, err
	}
	crashes, err := v.last(d.ref.VM, 1)
	if err != nil || len(crashes) == 0 || crashes[0].Number != d.bundle.Crash.Number {
		return false, err
	}
	d.bundle.Crash = crashes[0]
	d.ref.Incarnation = crashes[0].Failure.Incarnation
	d.bundle.Lacks = append(d.bundle.Lacks, "the daemon ended before it had written what it knew of this death")
	return true, nil
}

func (v *evidence) enforce() {
	ctx, cancel := context.WithTimeout(v.ctx, bundleTime)
	defer cancel()
	err := v.ports.Bundles.Enforce(ctx, func(kept vm.Shelves) vm.Shelves {
		return policies.Beyond(v.quota, v.ports.Clock.Now(), kept)
	})
	if err != nil && v.ctx.Err() == nil {
		v.log.Warn("bundles may hold more of the disk than they are to", zap.Error(err))
	}
}

// forget drops what is known of a VM that is deleted.
func (v *evidence) forget(id vm.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	of := v.by[id]
	if of == nil {
		return
	}
	for _, d := range of.waiting {
		d.release()
	}
	of.waiting, of.missed = nil, map[uint64]string{}
	if !of.busy {
		delete(v.by, id)
	}
}

// Missed says why deaths of a VM have no bundle, by the number of the crash.
func (n *Node) Missed(id vm.ID) map[uint64]string {
	v := n.env.evidence
	v.mu.Lock()
	defer v.mu.Unlock()
	if of := v.by[id]; of != nil {
		return maps.Clone(of.missed)
	}
	return nil
}

// BundleQuota is what bundles may hold of the disk.
func (n *Node) BundleQuota() vm.BundleQuota { return n.env.evidence.quota }

// quotaOrDefault fills in what isn't set.
func quotaOrDefault(q vm.BundleQuota) vm.BundleQuota {
	if q == (vm.BundleQuota{}) {
		return policies.DefaultBundleQuota
	}
	return q
}
