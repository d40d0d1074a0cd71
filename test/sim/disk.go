package sim

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/persistence"
)

// disk is the store as one life of the daemon has it: it dies with that life,
// tells the judge of every durable turn, and is where the story may break
// between a decision, its write and its effects.
type disk struct {
	persistence.Store
	s      *stage
	gone   atomic.Bool
	toGo   atomic.Int64 // commits until the daemon dies right after the write; 0: it doesn't
	mu     sync.Mutex
	faults diskFaults
}

// diskFaults are probabilities for each commit.
type diskFaults struct {
	refuse float64 // nothing is written, and the caller is told
	stall  float64 // it takes up to half a minute
	bug    float64 // our code panics after the write, before the caller hears of it
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
	if d.gone.Load() {
		return 0, errGone
	}
	if d.s.chance("refuse "+name, f.refuse) {
		d.s.story.tell("store refuses %s of %s", t.Entry.Kind, name)
		return 0, errRefused
	}
	n, err := d.Store.Commit(t)
	if err != nil {
		return n, err
	}
	d.s.judge.wrote(t)
	if d.toGo.Load() > 0 && d.toGo.Add(-1) == 0 {
		d.s.story.tell("NODE daemon killed right after the write of %s of %s", t.Entry.Kind, name)
		d.s.crash()
	}
	if d.s.chance("bug "+name, f.bug) {
		d.s.story.tell("a bug after the write of %s of %s", t.Entry.Kind, name)
		panic("a bug was drawn after the write")
	}
	return n, nil
}
