package netlink

import (
	"sync"
	"sync/atomic"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// follower has the one subscription of all watches. What the kernel tells is a
// hint of what to look at; what is then read anew is the truth, so that a hint
// that was lost costs a relist and nothing else.
type follower struct {
	links *Links
	wake  chan struct{} // something is to be looked at
	quit  chan struct{}
	ended sync.WaitGroup

	opened atomic.Int64 // subscriptions so far

	mu      sync.Mutex
	taps    map[string]*watched // by name
	indexes map[int]*watched    // those that were looked at
	look    map[*watched]bool   // to be looked at
	later   map[*watched]bool   // to be looked at after a pause
	pause   *time.Timer         // runs while there is anything to do after it
	running bool
	closed  bool
}

func (f *follower) begin(l *Links) {
	f.links, f.wake, f.quit = l, make(chan struct{}, 1), make(chan struct{})
	f.taps, f.indexes = map[string]*watched{}, map[int]*watched{}
	f.look, f.later = map[*watched]bool{}, map[*watched]bool{}
	f.pause = time.NewTimer(l.config.pause)
	f.pause.Stop()
}

// end waits for the goroutine; nothing is told afterwards but what waits already.
func (f *follower) end() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.quit)
	}
	f.mu.Unlock()
	f.ended.Wait()
	f.forget(func(t *watched) bool { t.watch.hush(); return true })
}

func (f *follower) add(taps []*watched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	for _, t := range taps {
		f.drop(f.taps[t.name]) // a later watch of that place
		f.taps[t.name] = t
		f.look[t] = true
	}
	if !f.running {
		f.running = true
		f.ended.Go(f.run)
	}
	f.hint()
}

// forget ends the watch of taps, so that what we do to them ourselves is no news.
func (f *follower) forget(which func(*watched) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.taps {
		if which(t) {
			f.drop(t)
		}
	}
}

func (f *follower) drop(t *watched) {
	if t == nil || f.taps[t.name] != t {
		return
	}
	delete(f.taps, t.name)
	delete(f.indexes, t.index)
	delete(f.look, t)
	delete(f.later, t)
}

func (f *follower) hint() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run subscribes, and again whenever the subscription broke.
func (f *follower) run() {
	defer f.pause.Stop()
	for {
		s := f.subscribe()
		if !s.open {
			f.pause.Reset(f.links.config.pause)
		}
		f.lookAtAll()
		ended := f.listen(s)
		s.end()
		if ended {
			return
		}
	}
}

// subscription is one socket of the kernel's notices.
type subscription struct {
	updates chan rtnl.LinkUpdate
	broken  chan struct{} // holds one value when a notice was lost or not understood
	done    chan struct{}
	open    bool
}

// subscribe returns one that isn't open where the kernel gave none.
func (f *follower) subscribe() *subscription {
	s := &subscription{updates: make(chan rtnl.LinkUpdate, 256), broken: make(chan struct{}, 1), done: make(chan struct{})}
	options := rtnl.LinkSubscribeOptions{
		ReceiveBufferSize: f.links.config.buffer, ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) {
			select {
			case s.broken <- struct{}{}:
				f.links.config.Log.Debug("link notices", zap.Error(err))
			default:
			}
		},
	}
	err := rtnl.LinkSubscribeWithOptions(s.updates, s.done, options)
	if err != nil { // only the privileged may exceed the system's limit on the buffer
		options.ReceiveBufferForceSize = false
		err = rtnl.LinkSubscribeWithOptions(s.updates, s.done, options)
	}
	f.opened.Add(1)
	if s.open = err == nil; !s.open {
		f.links.config.Log.Warn("no notices of links: they are looked at again and again instead", zap.Error(err), zap.Duration("every", f.links.config.pause))
	}
	return s
}

// end closes the socket and waits for its goroutine, which may be about to hand
// over an update.
func (s *subscription) end() {
	close(s.done)
	for s.open {
		_, s.open = <-s.updates
	}
}

// listen returns true at the end of all, false when the subscription is to be made anew.
func (f *follower) listen(s *subscription) (ended bool) {
	updates := s.updates
	if !s.open {
		updates = nil
	}
	for {
		select {
		case u, ok := <-updates:
			if !ok { // it ends at any error, ENOBUFS among them
				s.open = false
				return false
			}
			f.hear(u)
		case <-s.broken:
			f.lookAtAll()
		case <-f.wake:
			f.lookAtHinted()
		case <-f.pause.C:
			if !s.open {
				return false
			}
			f.lookLater()
		case <-f.quit:
			return true
		}
	}
}

// hear finds out whom a notice concerns. Notices of the bridge's family are of
// ports, not of links: a deletion there is a port that left its bridge.
func (f *follower) hear(u rtnl.LinkUpdate) {
	if u.Family != unix.AF_UNSPEC {
		return
	}
	a := u.Attrs()
	f.mu.Lock()
	t := f.indexes[a.Index]
	if t == nil {
		t = f.taps[a.Name]
	}
	if t != nil && (u.Header.Type == unix.RTM_DELLINK || t.ill != "" || !t.sound(u.Link)) {
		f.look[t] = true
	}
	if _, is := u.Link.(*rtnl.Bridge); is {
		f.concerned(u)
	}
	hinted := len(f.look) > 0
	f.mu.Unlock()
	if hinted {
		f.lookAtHinted()
	}
}

// concerned hints at the taps of a bridge that came, went, or is down.
func (f *follower) concerned(u rtnl.LinkUpdate) {
	a := u.Attrs()
	_, ours := f.links.bridges[a.Name]
	down := ours && a.RawFlags&unix.IFF_UP == 0
	for _, t := range f.taps {
		if t.nic.Bridge == a.Name && (u.Header.Type == unix.RTM_DELLINK || down || t.want.master != a.Index) {
			f.look[t] = true
		}
	}
}

// sound says that this is the tap as it has to be.
func (t *watched) sound(link rtnl.Link) bool {
	a := link.Attrs()
	return t.index == a.Index && a.Name == t.name && a.Alias == t.want.mark.String() && a.MTU == t.want.mtu &&
		a.MasterIndex == t.want.master && a.RawFlags&unix.IFF_UP != 0
}

func (f *follower) lookAtAll() {
	f.mu.Lock()
	for _, t := range f.taps {
		f.look[t] = true
	}
	f.mu.Unlock()
	f.lookAtHinted()
}

func (f *follower) lookLater() {
	f.mu.Lock()
	for t := range f.later {
		f.look[t] = true
		delete(f.later, t)
	}
	f.mu.Unlock()
	f.lookAtHinted()
}

func (f *follower) lookAtHinted() {
	f.mu.Lock()
	taps := make([]*watched, 0, len(f.look))
	for t := range f.look {
		taps = append(taps, t)
		delete(f.look, t)
	}
	f.mu.Unlock()
	for _, t := range taps {
		f.mend(t)
	}
}

// again looks at the tap after a pause.
func (f *follower) again(t *watched) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taps[t.name] != t {
		return
	}
	if len(f.later) == 0 {
		f.pause.Reset(f.links.config.pause)
	}
	f.later[t] = true
}

// tell hands a notice over, unless we ended the watch ourselves meanwhile.
func (f *follower) tell(t *watched, n host.LinkNotice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taps[t.name] != t {
		return
	}
	if n.Lost {
		f.drop(t)
	}
	f.links.config.Log.Info("link damaged", zap.String("vm", string(t.watch.ref.Name)), zap.String("link", t.name), zap.Bool("lost", n.Lost), zap.Bool("broken", n.Broken), zap.String("why", n.Why))
	n.Link = t.name
	t.watch.notice(n)
}
