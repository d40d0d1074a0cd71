package fake

import (
	"fmt"
	"slices"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// process is a live VMM with its guest.
type process struct {
	world    *World
	ref      vm.Ref
	process  vm.Process
	guest    Guest
	limits   vm.Limits
	cores    bool // it leaves a core where it crashes
	launched time.Time
	state    host.GuestState
	timed    int  // how often its guest was told the time
	silent   bool // the guest hangs
	timers   []*time.Timer
	watchers map[*watcher]bool
	sessions map[*session]bool
	clients  []*agentConn  // of the agent's socket, which serves the first alone
	parted   chan struct{} // closed when one of them leaves, and replaced
	answered chan struct{} // closed when the guest's agent is up; replaced by a reset
	gone     chan struct{} // closed at its end
	ended    bool
	exit     vm.Exit
	console  []byte
	busy     busy
	glance   vm.Glance
	vcpus    []vm.VCPU // see World.VCPUs
	threads  []int
	argv     []string
	asked    int // of its memory
	dumps    int // that are under way, each of which halts the guest

	nameless, agentless bool // its control socket was deleted, and its agent's

	left vm.Bytes // by its balloon; 0: all

	loads  bool          // it was launched with a saved guest, which has not run on yet
	loaded chan struct{} // closed when that is whole
	saving int           // counts savings, and what ends one
	images []*image      // that hold this guest's memory

	restored vm.Incarnation // whose known-good state it was launched with; 0: none
}

// verdict is how an incarnation ended, as somebody remembers who is not the daemon.
type verdict struct {
	incarnation vm.Incarnation
	exit        vm.Exit
}

type watcher struct {
	daemon *Daemon
	ended  func(vm.Exit)
}

// start makes a process live; the world's lock is held. A guest that is loaded
// has booted already, and stands still.
func (w *World) start(ref vm.Ref, loads bool) *process {
	w.pid++
	p := &process{
		world: w, ref: ref, guest: w.guests(ref), launched: time.Now(), state: host.GuestRuns,
		process:  vm.Process{PID: w.pid, StartTime: uint64(w.pid) * 7, BootID: w.boot, Unit: "blixard-" + string(ref.Name), Launcher: "fake"},
		watchers: map[*watcher]bool{}, sessions: map[*session]bool{}, answered: make(chan struct{}), parted: make(chan struct{}), gone: make(chan struct{}),
		loads: loads, loaded: make(chan struct{}),
	}
	if w.groups[ref.VM] == nil {
		w.groups[ref.VM] = map[vm.Incarnation]bool{}
	}
	w.groups[ref.VM][ref.Incarnation] = true
	w.live[p.process.PID] = p
	w.named[ref.Name] = append(w.named[ref.Name], p)
	if !loads {
		p.boot()
	}
	p.later(p.guest.Crash, func() { p.end(vm.Exit{Known: true, Signal: 11, Core: p.cores}, true) })
	p.later(p.guest.OutOfMemory, p.starve)
	p.later(p.guest.PowerOff, func() { p.stand(host.GuestOff, host.NoticePowerOff) })
	p.later(p.guest.Panic, func() { p.console = []byte("Kernel panic - not syncing: asked for\n"); p.reset() })
	p.later(p.guest.Reset, p.reset)
	p.later(p.guest.Hang, func() { p.silent = true })
	return p
}

// starve: the VMM has passed its limit, and the kernel kills it.
func (p *process) starve() {
	limit := p.limits.Memory
	p.world.story("process %s/%d passed its limit of %v", p.ref.Name, p.ref.Incarnation, limit)
	p.end(vm.Exit{Known: true, Signal: 9, MemoryPeak: limit, OOM: &vm.OutOfMemory{
		Victim: fmt.Sprintf("vmm, process %d", p.process.PID), Limit: limit, Usage: limit,
	}}, true)
}

// boot answers on the agent's port after the guest's boot time.
func (p *process) boot() {
	if p.guest.Boot < 0 {
		return
	}
	up := p.answered
	p.later(max(p.guest.Boot, time.Nanosecond), func() { close(up) })
}

// later acts on the process after d, unless it has ended.
func (p *process) later(d time.Duration, act func()) {
	if d <= 0 {
		return
	}
	p.timers = append(p.timers, time.AfterFunc(d, func() {
		p.world.mu.Lock()
		defer p.world.mu.Unlock()
		if !p.ended {
			act()
		}
	}))
}

// stand: the guest is over, its VMM stands still and tells whoever listens.
func (p *process) stand(s host.GuestState, kind host.NoticeKind) {
	p.state, p.silent = s, true
	if s == host.GuestOff && p.nameless {
		p.console = append(p.console, "reboot: Power down\n"...)
	}
	p.notify(host.Notice{Kind: kind, Detail: "guest", At: time.Now()})
}

// Hang makes the guest of a live VMM hang until its machine is reset; false: none lives.
func (w *World) Hang(id vm.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	hung := false
	for _, p := range w.live {
		if p.ref.VM == id {
			p.silent, hung = true, true
		}
	}
	return hung
}

// boots: the guest boots again in place.
func (p *process) boots() {
	p.silent = false
	p.answered = make(chan struct{})
	p.boot()
}

// reset: the guest resets itself.
func (p *process) reset() {
	p.boots()
	p.notify(host.Notice{Kind: host.NoticeReset, Detail: "guest-reset", At: time.Now()})
}

func (p *process) notify(n host.Notice) {
	twice := p.world.chance("twice "+string(p.ref.Name), p.world.faults.Twice)
	for s := range p.sessions {
		go s.tell(n)
		if twice {
			go s.tell(n)
		}
	}
}

// end removes the process; known: somebody who watches learns how it ended.
func (p *process) end(e vm.Exit, known bool) {
	if p.ended {
		return
	}
	p.ended, p.exit = true, e
	p.exit.At = time.Now()
	if known && p.world.chance("verdict "+string(p.ref.Name), p.world.remembers) {
		p.world.verdicts[p.ref.VM] = verdict{p.ref.Incarnation, p.exit}
	}
	close(p.gone)
	delete(p.world.live, p.process.PID)
	p.world.named[p.ref.Name] = slices.DeleteFunc(p.world.named[p.ref.Name], func(o *process) bool { return o == p })
	for _, t := range p.timers {
		t.Stop()
	}
	if known {
		p.world.story("process %s/%d of %s ended: signal %d", p.ref.Name, p.ref.Incarnation, p.ref.VM, e.Signal)
	}
	for s := range p.sessions {
		go s.tell(host.Notice{Kind: host.NoticeLost, At: time.Now()})
	}
	for w := range p.watchers {
		go w.tell(p.exit, p.world.chance("twice "+string(p.ref.Name), p.world.faults.Twice))
	}
}

func (w *watcher) tell(e vm.Exit, twice bool) {
	if !w.daemon.dead() {
		w.ended(e)
		if twice {
			w.ended(e)
		}
	}
}
