package sim

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/persistence"
)

// disk is the store as one life of the daemon has it: it dies with that life,
// tells the judge of every durable turn, and is where the story may break
// between a decision, its write and its effects.
type disk struct {
	persistence.Store
	s      *stage
	gone   atomic.Bool
	failed atomic.Bool
	toGo   atomic.Int64 // commits until the daemon dies right after the write; 0: it doesn't
	mu     sync.Mutex
	faults diskFaults
}

// diskFaults are probabilities for each commit.
type diskFaults struct {
	refuse float64 // an error, which is the last word of this life's disk, as Pebble has it; half of them after the write
	stall  float64 // it takes up to half a minute
	bug    float64 // the VM's actor panics between a durable turn and its effects
}

var (
	errGone    = errors.New("the daemon is gone")
	errRefused = errors.New("no space left on device")
)

func (d *disk) breaks(f diskFaults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = f
}

func (d *disk) fault() diskFaults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faults
}

// Commit writes a turn, or not, and what was written is told to the judge in
// the order in which it became durable.
func (d *disk) Commit(t persistence.Turn) (uint64, error) {
	f, name := d.fault(), string(t.Record.Spec.Name)
	if d.s.chance("stall "+name, f.stall) {
		time.Sleep(time.Duration(1+d.s.number("stall "+name, 30_000)) * time.Millisecond)
	}
	switch {
	case d.gone.Load():
		return 0, errGone
	case d.failed.Load():
		return 0, errRefused
	case d.s.chance("refuse "+name, f.refuse):
		d.failed.Store(true)
		written := d.s.chance("unsynced "+name, 0.5)
		d.s.story.tell("NODE the disk fails for good at %s of %s, written %v", t.Entry.Kind, name, written)
		if !written {
			return 0, errRefused
		}
	}
	n, err := d.Store.Commit(t)
	if err != nil {
		return n, err
	}
	d.s.judge.wrote(t)
	if d.failed.Load() {
		return 0, errRefused
	}
	if d.toGo.Load() > 0 && d.toGo.Add(-1) == 0 {
		d.s.story.tell("NODE daemon killed right after the write of %s of %s", t.Entry.Kind, name)
		d.s.crash()
	}
	return n, nil
}

// Turned is told of each durable turn by the VM's actor, before its effects.
func (d *disk) Turned(t actors.Turned) {
	name := string(t.After.Spec.Name)
	if d.s.chance("bug "+name, d.fault().bug) && !d.gone.Load() {
		d.s.story.tell("a bug ends the actor of %s after the write of %s", name, t.Event)
		panic("a bug was drawn after the write")
	}
}
