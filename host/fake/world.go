// Package fake is a whole machine in memory for tests: processes, guests,
// folders, consoles and clocks, under testing/synctest's virtual time. What a
// real host was seen to do wrong, this one can do by seed.
//
//	World            survives the daemon, and partly the node's power cut
//	 ├─ Daemon       one life of the daemon: its ports die with it
//	 ├─ process      a live VMM with its guest
//	 └─ Fault        what goes wrong, drawn for each call
package fake

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// World is the machine.
type World struct {
	mu sync.Mutex
	// Each thing that may go wrong has dice of its own, by VM and kind of call:
	// so a seed tells the same story however the goroutines interleave.
	seed  uint64
	dice  map[string]*rand.Rand
	boot  vm.BootID
	boots int
	pid   int
	full  bool // the disk under all VMs has no room
	// live holds every process; a VMM that ended leaves it.
	live map[int]*process
	// named finds them by the name of their VM: ten thousand must not be searched for one.
	named map[vm.Name][]*process
	// folders are on disk, runs on tmpfs: a power cut empties runs.
	folders, runs map[vm.Name]vm.ID
	aside         map[string]vm.ID                  // in quarantine
	taps          map[string]*tap                   // by name
	made          int                               // taps so far: each has an index of its own
	barred        map[vm.ID]vm.Incarnation          // killed for good in this daemon's life
	groups        map[vm.ID]map[vm.Incarnation]bool // cgroups, which outlive their VMM: Kill alone promises that they are gone
	images        map[vm.ID]map[imageOf]*image
	spoilt        map[vm.ID]bool
	shelves       map[vm.ID]*shelf  // of bundles
	verdicts      map[vm.ID]verdict // of the last process of each VM
	remembers     float64           // how likely an end is remembered
	guests        func(ref vm.Ref) Guest
	faults        Faults
	pressure      host.Pressure
	stall         stall
	dumps         time.Duration // what one takes
	saves         time.Duration // the same of savings
	spent         vm.NodeUsage
	services      map[string]Service // by address
	sockets       sockets
	capacity      vm.Capacity
	story         func(format string, args ...any)
	watch         Watch
}

// Guest is how the guest of one incarnation behaves. Zero durations: never.
type Guest struct {
	Boot         time.Duration // from launch to the agent's first answer; negative: it never answers
	Crash        time.Duration // the VMM dies by a signal, this long after launch
	OutOfMemory  time.Duration // the VMM passes its memory limit, and the kernel kills it
	PowerOff     time.Duration
	Panic        time.Duration
	Reset        time.Duration
	Hang         time.Duration // stops answering
	Deaf         bool          // ignores being asked to power off
	Writes       bool          // writes to its disk all the time, so a full one halts it
	PrepareFails host.Kind     // preparing fails always, as this kind; 0: doesn't
}

// Faults are probabilities for each call, in [0,1].
type Faults struct {
	Prepare, Launch, LateLaunch, Attach, Find, Kill, Release, Discard float64 // the call fails as Transient; LateLaunch after the process exists
	Save, Keep, LateKeep, Drop                                        float64 // saving a guest; LateKeep after the file has its name
	Bundle                                                            float64 // keeping the evidence of a death, and a dump
	Ensure, LateEnsure, Unlink                                        float64 // making and removing taps; LateEnsure after they exist
	Bug                                                               float64 // a port panics in its caller's goroutine: a bug of ours
	Measure                                                           float64 // a look of the meter
	Reach                                                             float64 // a probe over the network
	Slow                                                              float64 // a call takes up to MaxSlow
	Twice                                                             float64 // a notice comes twice
	MaxSlow                                                           time.Duration
}

// Watch is told of what the checkers look at, under the world's lock.
type Watch struct {
	Launching func(ref vm.Ref)
	Killing   func(ref vm.Ref, alive bool)
	Discarded func(ref vm.Ref)
	Broken    func(promise, why string)
}

// New makes a machine that was just switched on.
func New(seed uint64, w Watch, guests func(vm.Ref) Guest, story func(string, ...any)) *World {
	f := &World{
		seed: seed, dice: map[string]*rand.Rand{}, live: map[int]*process{}, named: map[vm.Name][]*process{}, folders: map[vm.Name]vm.ID{},
		runs: map[vm.Name]vm.ID{}, aside: map[string]vm.ID{}, taps: map[string]*tap{}, verdicts: map[vm.ID]verdict{}, images: map[vm.ID]map[imageOf]*image{}, spoilt: map[vm.ID]bool{}, guests: guests, watch: w, story: story, pid: 1000,
	}
	f.capacity = vm.Capacity{CPUs: 1 << 20, Memory: 1 << 50, Disk: 1 << 50}
	f.on()
	return f
}

func (w *World) on() {
	w.boots++
	w.groups = map[vm.ID]map[vm.Incarnation]bool{}
	w.boot = vm.BootID(fmt.Sprintf("boot-%d", w.boots))
}

// Break sets what goes wrong from now on.
func (w *World) Break(f Faults) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = f
}

// Remember sets how likely the end of a VMM is remembered for Launcher.Verdict,
// as a service manager does; at first nothing is.
func (w *World) Remember(p float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.remembers = p
}

// PowerCut ends every process and empties what is in memory; the next boot has another boot id.
func (w *World) PowerCut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.live {
		p.end(vm.Exit{}, false)
	}
	w.runs, w.taps, w.verdicts = map[vm.Name]vm.ID{}, map[string]*tap{}, map[vm.ID]verdict{}
	w.on()
}

// Live returns the processes of one VM.
func (w *World) Live(id vm.ID) []vm.Process {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.Process
	for _, p := range w.live {
		if p.ref.VM == id {
			out = append(out, p.process)
		}
	}
	return out
}

// Refs returns the incarnations that live, of all VMs.
func (w *World) Refs() []vm.Ref {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]vm.Ref, 0, len(w.live))
	for _, p := range w.live {
		out = append(out, p.ref)
	}
	return out
}

// Held says whether a VM holds anything beside processes: its run folder, taps.
func (w *World) Held(name vm.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.runs[name]
	return ok || len(w.tapsOf(func(r vm.Ref) bool { return r.Name == name })) > 0
}

// Folder says whether a VM's folder exists.
func (w *World) Folder(name vm.Name) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.folders[name]
	return ok
}

// Smite ends one live VMM of the VM by SIGKILL from outside; false: none lives.
func (w *World) Smite(id vm.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.live {
		if p.ref.VM == id {
			p.end(vm.Exit{Known: true, Signal: 9}, true)
			return true
		}
	}
	return false
}

// drawn are the dice of one kind of call for one VM.
func (w *World) drawn(what string) *rand.Rand {
	d := w.dice[what]
	if d == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(what))
		d = rand.New(rand.NewPCG(w.seed, h.Sum64())) //nolint:gosec // reproducible by seed
		w.dice[what] = d
	}
	return d
}

// chance draws whether something goes wrong.
func (w *World) chance(what string, p float64) bool { return p > 0 && w.drawn(what).Float64() < p }

// promise tells of a broken promise.
func (w *World) promise(p, format string, args ...any) {
	if w.watch.Broken != nil {
		w.watch.Broken(p, fmt.Sprintf(format, args...))
	}
}
