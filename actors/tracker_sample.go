package actors

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// samples is what the tracker knows of usage.
type samples struct {
	at      time.Time // of the last one; zero: none was taken
	node    vm.NodeUsage
	waiting []chan<- struct{} // for the one that is under way
}

// sample looks at the machine, off the mailbox, one look at a time.
func (t *tracker) sample() {
	if t.sampling {
		return
	}
	t.disarm()
	t.sampling = true
	env, self := t.env, t.self
	go func() {
		m := sampled{at: env.ports.Clock.Now()}
		m.look(env)
		env.giveRoomBack()
		env.tell(self, m)
	}()
}

// sampled takes a look in, and arms the next.
func (t *tracker) sampled(m sampled) {
	t.sampling = false
	t.samples.at, t.samples.node = m.at, m.node
	t.reckon(m)
	t.watch(m.at)
	t.reclaim(m.at)
	t.publish()
	for _, ready := range t.samples.waiting {
		close(ready)
	}
	t.samples.waiting = nil
	env, self := t.env, t.self
	t.disarm = env.ports.Clock.After(t.conf.Sample, func() { env.tell(self, sampleDue{}) })
}

// fresh answers once a look is not older than a second.
func (t *tracker) fresh(m freshAsked) {
	if !t.sampling && t.env.ports.Clock.Now().Sub(t.samples.at) < time.Second {
		close(m.ready)
		return
	}
	t.samples.waiting = append(t.samples.waiting, m.ready)
	t.sample()
}
