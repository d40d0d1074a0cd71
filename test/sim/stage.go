package sim

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// Plant is a bug that a test of the checkers puts in; the zero value plants none.
type Plant struct {
	Ports  func(s *stage, p host.Ports) host.Ports
	Store  func(s *stage, st persistence.Store) persistence.Store
	Booted func(s *stage)                                            // after each start of the daemon
	Cut    func(s *stage, m *persistence.Memory) *persistence.Memory // what a power cut leaves of the disk
	Look   func(s *stage) []vm.Record                                // how status is read
	End    func(s *stage)                                            // how the node is shut down
}

// stage is one machine with one daemon after the other.
type stage struct {
	seed   uint64
	script *rand.Rand // drawn from by the script's goroutine alone
	lull   *rand.Rand // the same, for idle VMs; see idleness
	doubts *rand.Rand // the same, for stalls of the host
	losses *rand.Rand // the same, for control sockets that somebody deletes
	plan   *plan
	plant  Plant
	log    *zap.Logger
	story  *story
	judge  *judge
	world  *fake.World
	memory *persistence.Memory
	life   *fake.Daemon
	disk   *disk
	node   *actors.Node // nil: the daemon could not start
	runs   atomic.Pointer[actors.Node]
	boots  vm.BootID // of the last daemon
	healed atomic.Bool
	askers sync.WaitGroup
	mu     sync.Mutex
	dice   map[string]*rand.Rand
	lives  int
	kept   map[vm.ID]vm.Incarnation // whose known-good state was written last
}

// run plays one seed inside a synctest bubble and returns what was broken, and
// the story.
func run(seed uint64, p Plant, log *zap.Logger) ([]Violation, *story) {
	dice := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // reproducible by seed
	s := &stage{
		seed: seed, script: dice, lull: idleness(seed, "script"), doubts: idleness(seed, "stalls"), losses: idleness(seed, "losses"), plan: draw(seed, dice), plant: p, log: log, story: newStory(),
		memory: persistence.NewMemory(), dice: map[string]*rand.Rand{},
	}
	s.judge = newJudge(s.story)
	s.judge.node, s.judge.boots.slow, s.judge.boots.most = s.plan.conduct.Policy, s.plan.conduct.Slow, policies.NewPace(oneCore{}.Cores(), 0).Most
	if p := s.plan.conduct.Parallel; p > 0 {
		s.judge.boots.most = p
	}
	s.judge.boots.parked = func() map[vm.Name]bool { return parkedIn(s.runs.Load()) }
	s.world = fake.New(seed, fake.Watch{
		Launching: s.judge.launching, Killing: s.judge.killing, Discarded: s.judge.discarded, Broken: s.judge.brokenByWorld,
	}, s.guest, s.story.tell)
	s.judge.saved, s.judge.well, s.judge.deaf = s.checkP17turn, s.well, s.world.Deaf
	s.kept = map[vm.ID]vm.Incarnation{}
	s.drawRoom()
	s.boot()
	s.play()
	s.heal()
	s.end()
	return s.judge.violations(), s.story
}

// guest is well once the world is healed: what is wanted up can then be up.
func (s *stage) guest(ref vm.Ref) fake.Guest {
	g := s.plan.guest(ref)
	if s.healed.Load() {
		return fake.Guest{Boot: time.Second, PrepareFails: g.PrepareFails}
	}
	return g
}

// boot starts a daemon on the machine as it stands.
func (s *stage) boot() {
	s.lives++
	s.story.tell("NODE daemon %d starts", s.lives)
	s.life = s.world.Daemon()
	s.disk = &disk{Store: s.memory, s: s}
	var store persistence.Store = s.disk
	ports := s.life.Ports()
	if s.plant.Store != nil {
		store = s.plant.Store(s, store)
	}
	ports.Machine = oneCore{ports.Machine}
	if s.plant.Ports != nil {
		ports = s.plant.Ports(s, ports)
	}
	if found, _, err := store.Load(); err == nil {
		s.judge.checkP3load(found)
	}
	s.judge.lifeBegins(ports.BootID != s.boots)
	s.boots = ports.BootID
	life := s.lives
	node, err := actors.Start(actors.Config{
		Ports: ports, Store: store, Log: s.log, Observer: s.disk, Conduct: s.plan.conduct,
		Fatal:  func(why string) { s.fatal(life, why) },
		Status: func() gateway.Status { return gateway.Status{} },
	})
	if err != nil {
		s.judge.checkP13start(err)
		s.node = nil
		return
	}
	s.node = node
	s.runs.Store(node)
	synctest.Wait()
	if s.plant.Booted != nil {
		s.plant.Booted(s)
	}
	s.checkP10boot()
	s.checkP12book()
}

func (s *stage) fatal(life int, why string) {
	if life == s.lives && !s.disk.gone.Load() {
		s.judge.checkRoot(why)
	}
}

// crash is SIGKILL for the daemon: no guest notices, nothing is written or done any more.
func (s *stage) crash() {
	s.disk.gone.Store(true)
	s.life.Crash()
}

// dead says whether the daemon was killed, maybe by a crash between write and effect.
func (s *stage) dead() bool { return s.disk.gone.Load() || s.disk.failed.Load() || s.node == nil }

// down lets the tree of an ended or ending life go and waits out the
// library's throttle of dead letters.
func (s *stage) down() {
	if s.node == nil {
		return
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.node.Stop(ctx); err != nil {
		s.judge.checkStop(err)
	}
	s.story.tell("NODE tree gone after %s", time.Since(began))
	s.crash()
	s.judge.lifeEnded()
	time.Sleep(2 * time.Second)
}

// reboot is the next daemon after a while.
func (s *stage) reboot(after time.Duration) {
	s.down()
	time.Sleep(after)
	s.boot()
}

// drawn are the dice of one thing that may happen; see fake.World.
func (s *stage) drawn(what string) *rand.Rand {
	d := s.dice[what]
	if d == nil {
		h := fnv.New64a()
		_, _ = h.Write([]byte(what))
		d = rand.New(rand.NewPCG(s.seed, h.Sum64())) //nolint:gosec // reproducible by seed
		s.dice[what] = d
	}
	return d
}

func (s *stage) chance(what string, p float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p > 0 && s.drawn(what).Float64() < p
}

func (s *stage) number(what string, below int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drawn(what).IntN(below)
}

// parked says whether a VM's actor was given up for bugs of ours.
func (s *stage) parked() bool {
	for _, b := range s.node.Status().Broken {
		if strings.HasPrefix(b, "vm/") {
			return true
		}
	}
	return false
}

// oneCore is a machine so small that a handful of VMs have to wait for their turn.
type oneCore struct{ host.Machine }

// Cores is one.
func (oneCore) Cores() int { return 1 }
