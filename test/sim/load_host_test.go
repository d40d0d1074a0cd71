package sim

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// loadedHost is a machine with more work than it can do, drawn by a seed:
//
//	spells   how long a thread of a VMM that could run waits for a processor,
//	         and stands still in the kernel for a page or a disk
//	holds    when the daemon is stopped, until it goes on
//	steps    of the clock
//
// What the kernel tells of it (run delays, pressure) follows from the same
// spells, as it does on a real one.
type loadedHost struct {
	seed  uint64
	story *story
	mu    sync.Mutex
	since time.Time // of the load

	spells  []spell
	holds   []hold
	steps   []clockStep
	guests  map[vm.Name]*loadedGuest
	asked   int // questions
	unheard int // of them, without an answer in time
}

// spell is a while in which the host is as slow as this.
type spell struct {
	from, until time.Duration // since the begin of the load
	starved     float64       // share of the time in which a thread that could run has no processor
	blocked     float64       // share in which it stands still in the kernel
	disk        bool          // for a disk, else for memory
	guestsOnly  bool          // that is the guest's processors: the VMM's own thread, which answers for it, touches nothing that is waited for
	late        time.Duration // by which the daemon wakes up late, at most
}

type hold struct{ from, until time.Duration }

// clockStep sets the clock: from then on it is wrong by so much.
type clockStep struct{ at, by time.Duration }

// loadedGuest is what one VMM does, one thing after the other.
type loadedGuest struct {
	dice  *rand.Rand
	looks *rand.Rand               // what a look at its processors sees
	turns map[string]chan struct{} // who may ask, by the way of asking; each holds one token
	spans []span                   // what it was given to do and has not done, or just has
	done  span                     // what came before, summed up
}

// span is work of a guest: how long it waited and stood still on the way.
type span struct{ from, until, ran, waited, blocked time.Duration }

func newLoadedHost(seed uint64) *loadedHost {
	h := &loadedHost{seed: seed, story: newStory(), since: time.Now().Add(loadBegins), guests: map[vm.Name]*loadedGuest{}}
	dice := idleness(seed, "load")
	const loaded = loadedFor - calmAtLast
	for at := time.Duration(0); at < loaded; {
		s := drawSpell(dice, at)
		h.spells = append(h.spells, s)
		at = s.until
	}
	for range dice.IntN(4) { // somebody stops the daemon, and lets it go on
		from := upTo(dice, loaded-time.Minute)
		h.holds = append(h.holds, hold{from, from + time.Second + upTo(dice, time.Minute)})
	}
	off := time.Duration(0)
	for at := upTo(dice, 20*time.Minute); at < loaded; at += time.Minute + upTo(dice, 30*time.Minute) {
		off += pick(dice, time.Second, -time.Second, 10*time.Second, -10*time.Second, 5*time.Hour, -5*time.Hour)
		h.steps = append(h.steps, clockStep{at, off})
	}
	return h
}

func upTo(dice *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(dice.Int64N(int64(d)))
}

func drawSpell(dice *rand.Rand, from time.Duration) spell {
	share := func(from, to float64) float64 { return from + dice.Float64()*(to-from) }
	s := spell{from: from, disk: dice.IntN(2) == 0}
	lasts := time.Duration(0)
	switch dice.IntN(13) {
	case 0, 1, 2: // calm
		s.starved, s.late, lasts = share(0, 0.1), 100*time.Microsecond, 2*time.Minute
	case 3, 4, 5, 6: // busy
		s.starved, s.late, lasts = share(0.2, 0.9), 5*time.Millisecond, 5*time.Minute
	case 7, 8, 9: // overloaded
		s.starved, s.late, lasts = share(0.85, 0.98), 15*time.Millisecond, 3*time.Minute
	case 10, 11: // short of memory, or of its disk
		s.starved, s.blocked, s.late, lasts = share(0, 0.5), share(0.3, 0.9), 5*time.Millisecond, time.Minute
	default: // all wait for one disk
		s.blocked, s.late, lasts = 1, time.Millisecond, 15*time.Second
		s.guestsOnly = dice.IntN(2) == 0
	}
	s.until = from + time.Second + upTo(dice, lasts)
	return s
}

// at is the time since the begin of the load.
func (h *loadedHost) at() time.Duration { return time.Since(h.since) }

// guest is one by its name; the lock is held.
func (h *loadedHost) guest(name vm.Name) *loadedGuest {
	g := h.guests[name]
	if g == nil {
		g = &loadedGuest{
			dice: idleness(h.seed, "load "+string(name)), looks: idleness(h.seed, "vcpus "+string(name)),
			turns: map[string]chan struct{}{},
		}
		h.guests[name] = g
	}
	return g
}

// turn is that of one way of asking, such as the agent's one connection; the lock is held.
func (g *loadedGuest) turn(by string) chan struct{} {
	if g.turns[by] == nil {
		g.turns[by] = make(chan struct{}, 1)
		g.turns[by] <- struct{}{}
	}
	return g.turns[by]
}

// free is when the guest has done all that it was asked; the lock is held.
func (g *loadedGuest) free() time.Duration {
	if len(g.spans) == 0 {
		return math.MinInt64
	}
	return g.spans[len(g.spans)-1].until
}

// work gives the guest something to do now, which takes so long on an idle host,
// and returns when it is done. The lock is held.
func (h *loadedHost) work(g *loadedGuest, takes time.Duration) time.Duration {
	from := max(h.at(), g.free())
	s := span{from: from, until: from, ran: takes}
	for _, one := range h.spells {
		if one.until <= s.until || one.from > s.until || takes <= 0 {
			continue // before the first one, and after the last, nothing is slow
		}
		speed := (1 - one.starved) * (1 - one.blocked)
		lasts := one.until - s.until
		if needs := math.Ceil(float64(takes) / speed); needs <= float64(lasts) {
			lasts, takes = time.Duration(needs), 0
		} else {
			takes -= time.Duration(float64(lasts) * speed)
		}
		still := time.Duration(float64(lasts) * one.blocked)
		s.until += lasts
		s.blocked += still
		s.waited += time.Duration(float64(lasts-still) * one.starved)
	}
	s.until += takes
	for len(g.spans) > 0 && g.spans[0].until <= h.at() {
		g.done = g.done.plus(g.spans[0], 1)
		g.spans = g.spans[1:]
	}
	g.spans = append(g.spans, s)
	return s.until
}

// plus adds so much of another one.
func (s span) plus(o span, part float64) span {
	of := func(d time.Duration) time.Duration { return time.Duration(part * float64(d)) }
	return span{ran: s.ran + of(o.ran), waited: s.waited + of(o.waited), blocked: s.blocked + of(o.blocked)}
}

// part is how much of a span has passed.
func (s span) part(at time.Duration) float64 {
	switch {
	case at >= s.until:
		return 1
	case at <= s.from:
		return 0
	}
	return float64(at-s.from) / float64(s.until-s.from)
}

// glance is what a look at its VMM sees now. The lock is held.
func (h *loadedHost) glance(g *loadedGuest) vm.Glance {
	at, sum := h.at(), g.done
	for _, one := range g.spans {
		sum = sum.plus(one, one.part(at))
	}
	out := vm.Glance{
		State: vm.ProcessSleeping, Threads: 4, Ran: sum.ran, Waited: sum.waited,
		// The first thread is the VMM's own, which passes on what the vCPU does.
		Waits: map[int]time.Duration{1: sum.waited / 4, 2: sum.waited - sum.waited/4},
	}
	if at < g.free() && g.dice.Float64() < h.spellAt(at).blocked {
		out.Blocked = 1
	}
	return out
}

// vcpu is what a look at a guest's processor sees now. Beside what it is asked, a
// guest does a little of its own all the time, and reads and writes for it. The lock is held.
func (h *loadedHost) vcpu(g *loadedGuest, c vm.VCPU) vm.VCPU {
	const busy = 0.01
	at := h.at()
	c.Ran = time.Duration(busy * float64(loadBegins+at))
	for _, s := range h.spells {
		lasted := min(at, s.until) - min(at, s.from)
		c.Ran -= time.Duration(busy * float64(lasted) * (1 - (1-s.starved)*(1-s.blocked)))
	}
	if g.looks.Float64() < h.spellAt(at).blocked {
		c.State = vm.ProcessUninterruptible
	}
	return c
}

// answersAside says whether the VMM's own thread answers although its guest can't run.
func (h *loadedHost) answersAside() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.spellAt(h.at()).guestsOnly
}

// spellAt is the spell of that moment.
func (h *loadedHost) spellAt(at time.Duration) spell {
	for _, s := range h.spells {
		if s.from <= at && at < s.until {
			return s
		}
	}
	return spell{late: 100 * time.Microsecond}
}

// pressure is what the kernel tells of the last ten seconds.
func (h *loadedHost) pressure() (p host.Pressure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.at()
	for _, s := range h.spells {
		if s.from > at {
			break
		}
		lasted := (min(at, s.until) - s.from).Seconds()
		nears := func(avg *float64, share float64) { *avg = share + (*avg-share)*math.Exp(-lasted/10) }
		disk, memory := 0.0, 0.0
		if s.disk {
			disk = s.blocked
		} else {
			memory = s.blocked
		}
		nears(&p.CPU, 100*s.starved)
		nears(&p.Memory, 100*memory)
		nears(&p.IO, 100*disk)
		p.MemoryStood += time.Duration(memory * lasted * float64(time.Second))
		p.IOStood += time.Duration(disk * lasted * float64(time.Second))
	}
	return p
}

// awake returns once the daemon runs: whatever it is told meanwhile waits.
func (h *loadedHost) awake() {
	h.mu.Lock()
	at := h.at()
	late := h.lateness(at)
	for _, one := range h.holds {
		if one.from <= at+late && at+late < one.until {
			late = one.until - at
		}
	}
	h.mu.Unlock()
	time.Sleep(late)
}

// lateness is by how much somebody wakes up late who is due now. A real host
// with two processors and some forty processes that wanted one was late by 13 ms
// in the median, by 330 ms once in a hundred times and by 860 ms once in ten
// minutes: that is a lognormal distribution. It is drawn by the moment, so that
// it is the same in whatever order goroutines come.
func (h *loadedHost) lateness(at time.Duration) time.Duration {
	const spread, most = 1.4, 3 * time.Second
	dice := rand.New(rand.NewPCG(h.seed, uint64(at))) //nolint:gosec // reproducible by seed
	return min(most, time.Duration(float64(h.spellAt(at).late)*math.Exp(spread*dice.NormFloat64())))
}

// off is by how much the clock is wrong.
func (h *loadedHost) off() (by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.at()
	for _, s := range h.steps {
		if s.at <= at {
			by = s.by
		}
	}
	return by
}

// Turned tells the story of what the daemon decides.
func (h *loadedHost) Turned(t actors.Turned) {
	s := t.After.State
	now := h.spellAt(h.at())
	h.story.tell("%s: %s → %s, %s (%s) while threads wait for %.0f %% of the time and stand still for %.0f %%", t.After.Spec.Name, t.Event, s.Phase,
		s.Health, s.HealthWhy, 100*now.starved, 100*now.blocked)
}
