package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// room is how much the machine of a seed has. In a third of the seeds not every
// VM finds room; in the others nothing is ever short.
type room struct {
	dice  *rand.Rand // of its own, so that a tight machine changes no other part of the story
	tight bool
	first vm.Capacity
	had   []roomSince // the newest last

	launched map[vm.ID]vm.Reservation // what each VM's incarnation was begun with; none: it is at rest
}

type roomSince struct {
	at time.Time
	vm.Capacity
}

// longestTurn bounds the time from a decision of admission until its turn is
// written: some stalls of the disk, one after the other. What was admitted before
// a machine shrank may be written for so long.
const longestTurn = 10 * time.Minute

// drawRoom makes the machine as large as this seed has it.
func (s *stage) drawRoom() {
	r := &s.judge.room
	r.dice = rand.New(rand.NewPCG(s.seed, 12)) //nolint:gosec // reproducible by seed
	if r.tight = r.dice.IntN(3) == 0; !r.tight {
		return
	}
	r.first = vm.Capacity{
		CPUs:   pick(r.dice, 0.5, 1, 2, 4),
		Memory: 512*vm.MiB + vm.Bytes(1+r.dice.IntN(2+len(s.plan.names)))*256*vm.MiB,
		Disk:   vm.Bytes(1+r.dice.IntN(20)) * vm.GiB,
	}
	s.resizeTo(1)
}

// resize takes from the machine, or gives it back, as a cgroup's limit or
// somebody's files do.
func (s *stage) resize() {
	if r := &s.judge.room; r.tight {
		s.resizeTo(pick(r.dice, 0.3, 0.75, 1, 1.5))
	}
}

// rush has everybody create and change at once while the disk is slow, so that
// many are decided before the first of them is written.
func (s *stage) rush() {
	if s.dead() || !s.judge.room.tight {
		return
	}
	before := s.disk.fault()
	s.disk.breaks(diskFaults{stall: 1})
	for _, name := range s.plan.names {
		s.create(name, false)
		spec := s.sized(s.plan.casts[name].spec)
		s.ask(name, messages.Ask{Event: vm.SpecAsked, Spec: &spec})
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	s.disk.breaks(before)
}

func (s *stage) resizeTo(share float64) {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	r := &s.judge.room
	c := vm.Capacity{CPUs: r.first.CPUs * share, Memory: vm.Bytes(float64(r.first.Memory) * share), Disk: vm.Bytes(float64(r.first.Disk) * share)}
	r.had = append(r.had, roomSince{time.Now(), c})
	s.world.Grow(c)
	s.story.tell("NODE the machine has %g processors, %s of memory and %s of disk", c.CPUs, c.Memory, c.Disk)
}

// sized gives a spec a size that may not find room.
func (s *stage) sized(spec vm.Spec) vm.Spec {
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	r := &s.judge.room
	if !r.tight || spec.Name == canary {
		return spec
	}
	spec.CPUs = 1 + r.dice.IntN(3)
	spec.Memory = vm.Bytes(pick(r.dice, 80, 128, 256, 512)) * vm.MiB
	if r.dice.IntN(3) == 0 {
		spec.Disks = []vm.Disk{{Name: "data", Size: vm.Bytes(1+r.dice.IntN(4)) * vm.GiB}}
		spec.Remedies = slices.DeleteFunc(slices.Clone(spec.Remedies), func(one vm.Rung) bool { return one.Do == vm.RemedyRestore }) // the door refuses it
	}
	return spec
}

// most is what could be promised at most lately: four vCPUs for a processor, all
// of memory but 512 MiB, and all of the disk but a twentieth.
func (r *room) most() (out vm.Reserved) {
	for i, c := range r.had {
		if i+1 < len(r.had) && time.Since(r.had[i+1].at) > longestTurn {
			continue
		}
		out.CPUs = max(out.CPUs, 4*c.CPUs)
		out.Memory = max(out.Memory, c.Memory-512*vm.MiB)
		out.Disk = max(out.Disk, c.Disk-vm.Bytes(0.05*float64(c.Disk)))
	}
	return out
}

// began remembers what an incarnation is begun with, until nothing of it is left.
func (r *room) began(before, after vm.Record, kind string) {
	switch {
	case after.State.Phase&vm.AtRest != 0 || kind == "Rebuilt":
		delete(r.launched, after.ID)
	case after.State.Incarnation != before.State.Incarnation:
		if r.launched == nil {
			r.launched = map[vm.ID]vm.Reservation{}
		}
		r.launched[after.ID] = after.Reservation
	}
}

// held is what a VM takes of the room: what its VMM was launched with, too, where
// a smaller spec waits for the next start.
func (r *room) held(rec vm.Record) vm.Reservation { return rec.Reservation.Max(r.launched[rec.ID]) }

// checkP12turn: what grows fits, and what is written holds what its spec needs.
func (j *judge) checkP12turn(before, after vm.Record, t persistence.Turn) {
	r, was := after.Reservation, before.Reservation
	if r.CPUs < after.Spec.CPUs || r.Memory <= after.Spec.Memory {
		j.broken("checkP12", after.Spec.Name, "it holds %+v for a spec of %d vCPUs and %s", r, after.Spec.CPUs, after.Spec.Memory)
	}
	if !t.Whole && r != was {
		j.broken("checkP12", after.Spec.Name, "%s changed what it holds from %+v to %+v", t.Entry.Kind, was, r)
	}
	was = j.room.held(before)
	j.room.began(before, after, t.Entry.Kind)
	if r = j.room.held(after); after.Holds() != r {
		j.broken("checkP12", after.Spec.Name, "%s: it holds %+v, was launched with %+v, and counts with %+v", t.Entry.Kind, r, j.room.launched[after.ID], after.Holds())
	}
	if !j.room.tight || t.Removed || t.Entry.Kind == "Rebuilt" {
		return
	}
	sum, most := vm.Reserved{}.Plus(r), j.room.most()
	for id, other := range j.durable {
		if id != after.ID {
			sum = sum.Plus(j.room.held(other))
		}
	}
	if r.CPUs > was.CPUs && sum.CPUs > most.CPUs || r.Memory > was.Memory && sum.Memory > most.Memory || r.Disk > was.Disk && sum.Disk > most.Disk {
		j.broken("checkP12", after.Spec.Name, "%s makes the sum %+v, the room was %+v at most", t.Entry.Kind, sum, most)
	}
}

// checkP12book: once nothing is under way, what the node says to have promised
// is what the records hold, of those too that can't be read.
func (s *stage) checkP12book() {
	if s.dead() {
		return
	}
	known, err := s.node.Resources(context.Background(), false)
	s.judge.mu.Lock()
	defer s.judge.mu.Unlock()
	var sum vm.Reserved
	for _, r := range s.judge.durable {
		sum = sum.Plus(s.judge.room.held(r))
	}
	if err != nil || known.Reserved != sum || known.VMs != len(s.judge.durable) {
		s.judge.broken("checkP12", "", "%d VMs hold %+v, the node says %d hold %+v (%v)", len(s.judge.durable), sum, known.VMs, known.Reserved, err)
	}
}
