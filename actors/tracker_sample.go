package actors

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// samples is what the tracker knows of usage. What it knows of the VMs is
// published for all to read; see env.usage.
type samples struct {
	at      time.Time // of the last one of the VMs; zero: none was taken
	node    vm.NodeUsage
	begun   bool              // the first one is over
	waiting []chan<- struct{} // for the one that is under way, or the next
}

const (
	// usualSample is how often the node is looked at, and the VMs unless it is said otherwise.
	usualSample = 10 * time.Second
	// firstSample is how long after the start the VMs are looked at again: the
	// first look comes before the fleet knows any.
	firstSample = time.Second
	// freshFor bounds how often a look is taken because somebody asks.
	freshFor = time.Second
	// maxWaiting bounds who waits for a look, as for one that hangs; more are
	// answered with what is known.
	maxWaiting = 1000
)

// sample looks at the machine and its VMMs, off the mailbox, one look at a time:
// while one is under way, the next is not begun.
func (t *tracker) sample() {
	if t.sampling {
		return
	}
	t.disarm()
	t.sampling = true
	env, self, before := t.env, t.self, t.samples.node
	whole := t.conf.Sample > 0 || len(t.samples.waiting) > 0
	go func() {
		m := sampled{at: env.ports.Clock.Now(), whole: whole}
		m.look(env)
		m.node = env.measureNode(before)
		if whole {
			m.usages = env.measure()
			env.askGuests()
		}
		env.giveRoomBack()
		env.tell(self, m)
	}()
}

// sampled takes a look in, and arms the next.
func (t *tracker) sampled(m sampled) {
	t.sampling = false
	t.samples.node = m.node
	if m.whole {
		t.samples.at = m.at
		t.env.usages.Store(&m.usages)
		t.learn(m.usages)
	}
	t.reckon(m)
	t.watch(m.at)
	t.reclaim(m.at)
	t.publish()
	if !m.whole && len(t.samples.waiting) > 0 {
		t.sample() // who waits came too late for this one
		return
	}
	for _, ready := range t.samples.waiting {
		close(ready)
	}
	t.samples.waiting = nil
	every := t.conf.Sample
	switch {
	case !t.samples.begun:
		t.samples.begun, every = true, firstSample
	case every <= 0:
		every = usualSample
	}
	env, self := t.env, t.self
	t.disarm = env.ports.Clock.After(every, func() { env.tell(self, sampleDue{}) })
}

// fresh answers once a look is not older than a second.
func (t *tracker) fresh(m freshAsked) {
	now := t.env.ports.Clock.Now()
	recent := !t.sampling && !t.samples.at.IsZero() && now.Sub(t.samples.at).Abs() < freshFor
	if recent || len(t.samples.waiting) >= maxWaiting {
		close(m.ready)
		return
	}
	t.samples.waiting = append(t.samples.waiting, m.ready)
	t.sample()
}
