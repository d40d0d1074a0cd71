package actors_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// says is a console whose log held that text before anybody followed it.
type says struct {
	host.Console
	text []byte
}

func (s says) Follow(_ host.Paths, from int64, chunk func([]byte)) (func(), error) {
	if from == 0 && len(s.text) > 0 {
		chunk(s.text)
	}
	return func() {}, nil
}

// upOnConsole is a VM that is up when its console says so.
func upOnConsole(sp *vm.Spec) {
	sp.Health = []vm.Check{{
		Type: vm.CheckConsole, Interval: 10 * time.Second, Timeout: time.Second,
		Failures: 3, Successes: 1, Healthy: "guest is up",
	}}
}

func TestAGuestThatCameUpWhileNobodyListenedIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		var said []byte
		s.wrap = func(p host.Ports) host.Ports {
			p.Console = says{p.Console, said}
			return p
		}
		s.kill()
		s.create("web", upOnConsole)
		s.after(time.Second)
		s.want("web", vm.Starting, 1)
		said = []byte("guest is up\n")
		s.kill()
		s.after(time.Second)
		s.want("web", vm.Running, 1)
	})
}

func TestAMarkIsSeenInFrontOfALongChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} })
		defer func() { s.end() }()
		s.wrap = func(p host.Ports) host.Ports {
			p.Console = says{p.Console, append([]byte("guest is up\n"), bytes.Repeat([]byte("more\n"), 10_000)...)}
			return p
		}
		s.kill()
		s.create("web", upOnConsole)
		s.after(5 * time.Second)
		s.want("web", vm.Running, 1)
	})
}

// A guest that floods its console, with what is dear to look through, costs a
// bounded amount of memory, and what it says at last is heard.
func TestAFloodOfTheConsoleIsBoundedAndItsLastWordIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newProbed(t, boots(time.Second))
		defer func() { s.end() }()
		s.create("web", checked(agentCheck, vm.Check{Type: vm.CheckConsole, Healthy: "beat(.*done)?", Unhealthy: "all is lost"}))
		s.after(10 * time.Second)
		s.console.says("beat")
		s.after(10 * time.Second)
		held := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before, chunk := held(), strings.Repeat("beat", 16<<10)
		for range 50 << 20 / len(chunk) {
			s.console.says(chunk)
		}
		if more := held() - before; more > 24<<20 {
			t.Errorf("it holds %d MiB of a flood", more>>20)
		}
		s.unharmed("web")
		s.console.says("all is lost\n")
		s.after(5 * time.Second)
		if st := s.state("web"); st.Crashes != 1 || !strings.Contains(st.LastExit.Failure.Evidence, "all is lost") {
			t.Errorf("it is not heard: %s, %s", st.Phase, st.HealthWhy)
		}
	})
}
