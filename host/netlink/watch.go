package netlink

import (
	"sync"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// watched is one tap under a running guest. The follower's goroutine alone
// uses what stands below ref.
type watched struct {
	watch *watch
	name  string
	nic   vm.Network

	index  int         // 0: not looked at yet
	want   want        // since the first look
	ill    string      // what couldn't be mended, as it was told
	alone  bool        // its bridge isn't there, and isn't ours to make
	broken bool        // told as cut off, and not as whole since
	mended []time.Time // recent repairs
}

// watch is one call of Watch. Notices queue up for a goroutine that lives only
// while there are any: who is slow to listen holds nobody up, and a thousand
// quiet watches cost no goroutine.
type watch struct {
	ref  vm.Ref
	tell func(host.LinkNotice)

	mu     sync.Mutex
	queue  []host.LinkNotice
	busy   bool
	silent bool
}

// Watch tells of what happens to the taps of a launched incarnation; see
// host.Links. What was taken away before the call is told at once. It also
// needs no privilege to be told, only to repair.
func (l *Links) Watch(ref vm.Ref, nics []vm.Network, tell func(host.LinkNotice)) (cancel func()) {
	w := &watch{ref: ref, tell: tell}
	var taps []*watched
	for i, nic := range nics {
		if nic.Mode == vm.NetworkBridge {
			taps = append(taps, &watched{watch: w, name: host.LinkName(ref.Slot, i), nic: nic})
		}
	}
	if len(taps) == 0 {
		return func() {}
	}
	l.follower.add(taps)
	return func() {
		w.hush()
		l.follower.forget(func(t *watched) bool { return t.watch == w })
	}
}

// hush drops what was not told yet.
func (w *watch) hush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent, w.queue = true, nil
}

func (w *watch) notice(n host.LinkNotice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent {
		return
	}
	w.queue = append(w.queue, n)
	if !w.busy {
		w.busy = true
		go w.deliver()
	}
}

func (w *watch) deliver() {
	for {
		w.mu.Lock()
		if len(w.queue) == 0 {
			w.busy = false
			w.mu.Unlock()
			return
		}
		n := w.queue[0]
		w.queue = w.queue[1:]
		w.mu.Unlock()
		w.tell(n)
	}
}
