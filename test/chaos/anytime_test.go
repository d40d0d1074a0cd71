package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// dice are thrown from a seed that is told, and can be given again.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if given, err := strconv.ParseUint(os.Getenv("BLIXARD_SEED"), 10, 64); err == nil {
		seed = given
	}
	t.Logf("BLIXARD_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// The daemon dies at any moment of whatever it does. What it had acknowledged
// stays, what it had begun is finished, and nothing runs twice: P1, P3, P4, P5.
func TestDaemonMayDieAtAnyMoment(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	luck := dice(t)
	rounds := 12
	if allScenarios() {
		rounds = 250
	}
	m := &mayhem{site: s, wanted: map[string]string{}}
	for i := range 3 {
		m.make(fmt.Sprintf("vm-%d", i))
	}
	for round := range rounds {
		name := fmt.Sprintf("vm-%d", luck.IntN(3))
		what := m.choose(luck, name)
		told := make(chan error, 1)
		go func() { told <- what.do() }()
		pause(luck, 40*time.Millisecond)
		s.must(s.Strike(s.ctx))
		if luck.IntN(3) == 0 { // and once more, while it adopts
			pause(luck, 150*time.Millisecond)
			s.must(s.Strike(s.ctx))
		}
		err := <-told
		s.must(s.Ready(s.ctx))
		m.note(name, what, err)
		m.judge(fmt.Sprintf("round %d: %s %s (%v)", round, what.name, name, err))
		if t.Failed() {
			return
		}
	}
}

// pause lasts up to the longest. Nothing is awaited: the moment is the point.
func pause(luck *rand.Rand, longest time.Duration) {
	<-time.After(time.Duration(luck.Int64N(int64(longest))))
}

// mayhem is what was asked of the VMs while their daemon died.
type mayhem struct {
	*site
	wanted map[string]string // the intent by name; "": whichever, because nobody answered
}

type ask struct {
	name   string
	intent string // what it leaves when it is acknowledged; "": what it was
	do     func() error
}

func (m *mayhem) make(name string) {
	m.t.Helper()
	spec := m.PVH(name)
	spec.Restart = node.Impatient(100)
	spec.Restart.Budget.Window = seconds(10)                              // nobody is given up here
	spec.Stop = &v1.Stop{Timeout: durationpb.New(200 * time.Millisecond)} // this guest hears nothing
	m.up(spec)
	m.wanted[name] = "running"
}

func (m *mayhem) choose(luck *rand.Rand, name string) ask {
	asks := []ask{
		{"start", "running", func() error { _, err := m.StartOf(m.ctx, name); return err }},
		{"stop", "stopped", func() error { _, err := m.StopOf(m.ctx, name, false); return err }},
		{"kill", "stopped", func() error { _, err := m.StopOf(m.ctx, name, true); return err }},
		{"delete", "removed", func() error { _, err := m.DeleteOf(m.ctx, name); return err }},
		{"crash", "", func() error { return m.crash(name) }},
	}
	return asks[luck.IntN(len(asks))]
}

// crash kills the VM's VMM, if it has one.
func (m *mayhem) crash(name string) error {
	for _, p := range m.VMMs() {
		if strings.Contains(strings.Join(p.Argv, " "), "guest=blixard-"+name+",") {
			return p.Kill()
		}
	}
	return nil
}

// note remembers what the ask has promised: all of it, or nothing that we know of.
func (m *mayhem) note(name string, what ask, err error) {
	switch {
	case what.intent == "", node.Refusal(err) != nil: // refused: nothing changed
	case err == nil:
		m.wanted[name] = what.intent
	case m.wanted[name] != what.intent:
		m.wanted[name] = ""
	}
}

// judge waits until every VM is as it is wanted and fails where one isn't.
func (m *mayhem) judge(story string) {
	m.t.Helper()
	var alive []int32
	for _, name := range []string{"vm-0", "vm-1", "vm-2"} {
		is, err := m.Get(m.ctx, name)
		if r := node.Refusal(err); r.GetCode() == "not-found" {
			m.gone(name, story)
			continue
		}
		m.must(err)
		if want := m.wanted[name]; want != "" && is.GetIntent() != want {
			m.t.Errorf("%s: %s is wanted %s, but %s was acknowledged (P3)", story, name, is.GetIntent(), want)
		}
		m.wanted[name] = is.GetIntent()
		switch is.GetIntent() {
		case "running":
			alive = append(alive, m.calm(name, story).GetPid())
		case "stopped":
			m.reaches(name, "stopped", soon)
		default:
			m.must(m.Removed(m.ctx, name, soon))
			m.gone(name, story)
		}
	}
	m.only(alive...)
	for name, want := range m.wanted {
		if want == "removed" {
			m.make(name)
		}
	}
}

// calm waits until the VM is up. A crash may be news to the daemon, so its
// process has to be there, too.
func (m *mayhem) calm(name, story string) *v1.VM {
	m.t.Helper()
	is := m.healthy(name, 0)
	for range 5 {
		if _, err := m.VMM(int(is.GetPid())); err == nil {
			return is
		}
		is = m.healthy(name, is.GetRevision())
	}
	m.t.Fatalf("%s: %s is told to run as pid %d, which is no VMM (P4)", story, name, is.GetPid())
	return nil
}

func (m *mayhem) gone(name, story string) {
	m.t.Helper()
	if want := m.wanted[name]; want != "" && want != "removed" {
		m.t.Errorf("%s: %s is gone, but %s was acknowledged (P3)", story, name, want)
	}
	m.wanted[name] = "removed"
}
