package chaos

import (
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// quick is the first n of a scenario's cases in CI, and all of them in make chaos.
func quick[T any](n int, all []T) []T {
	if allScenarios() {
		return all
	}
	return all[:n]
}

// watched is a VM of the built-in guest, with checks of a name each that are
// quick enough for a test and one failure more patient than the guest's agent.
func watched(name, words string, checks ...*v1.Check) *v1.VMSpec {
	spec := node.Builtin(name, words)
	for _, given := range checks {
		c, ok := proto.Clone(given).(*v1.Check)
		if !ok {
			panic("a clone of another type")
		}
		c.Interval, c.Timeout = seconds(1), seconds(1)
		if c.GetFailures() == 0 {
			c.Failures = 2
		}
		spec.Health = append(spec.Health, c)
	}
	if len(checks) > 0 {
		spec.Health[0].Failures = 10 // so that the other one is heard first
	}
	return spec
}

// beats is a check of the console that wants the guest's beat again and again.
func beats(every time.Duration) *v1.Check {
	return &v1.Check{Type: "console", Healthy: "beat [0-9]+", Every: durationpb.New(every)}
}

// hurt asks for what may leave nobody to answer, and doesn't wait.
func (w *ward) hurt(name string, argv ...string) {
	go func() { _, _ = w.node.Inside(w.ctx, name, argv...) }()
}

// healed waits until the incarnation has ended and the next one is well, and
// looks at what is written down of the death: one of the causes, and each of
// the words as its evidence.
func (w *world) healed(was *v1.VM, causes string, evidence ...string) (*v1.Crash, *v1.VM) {
	w.t.Helper()
	name := was.GetName()
	end := w.event("the end of "+name, 2*boot, func(e *v1.Event) bool {
		return e.GetVm() == name && e.GetCause() != "" && e.GetIncarnation() == was.GetIncarnation()
	})
	is := w.healthy(name, end.GetRevision())
	if is.GetIncarnation() != was.GetIncarnation()+1 || is.GetCrashes() != was.GetCrashes()+1 {
		w.t.Errorf("incarnation %d with %d crashes became %d with %d; want one more of each",
			was.GetIncarnation(), was.GetCrashes(), is.GetIncarnation(), is.GetCrashes())
	}
	w.only(is.GetPid())
	all, err := w.Crashes(w.ctx, name)
	w.must(err)
	at := slices.IndexFunc(all, func(c *v1.Crash) bool { return c.GetIncarnation() == was.GetIncarnation() })
	if at < 0 {
		w.t.Fatalf("no record of the death of incarnation %d: %v", was.GetIncarnation(), all)
	}
	crash := all[at]
	if !slices.Contains(strings.Split(causes, "|"), crash.GetCause()) || crash.GetConfidence() == "" {
		w.t.Errorf("want %s, got %s (%s), %v: %s", causes, crash.GetCause(), crash.GetConfidence(), crash.GetDecision(), crash.GetEvidence())
	}
	for _, words := range evidence {
		if !strings.Contains(crash.GetEvidence(), words) {
			w.t.Errorf("the evidence does not say %q: %s", words, crash.GetEvidence())
		}
	}
	return crash, is
}

// quiet is how long a host may be busy with other work before a guest that burns
// its processor is judged: other scenarios have their boots in that time.
const quiet = 5 * time.Minute

// judged waits for the end of a guest that hangs and burns its processor. A host
// that has none to spare for it excuses that guest by design (P16), so it takes
// a quiet moment: some rounds in a row. None at all is a failure like any other.
func (w *world) judged(was *v1.VM, within time.Duration) {
	w.t.Helper()
	w.patience(within + quiet + 2*boot)
	began, why, excused := time.Now(), "", false
	defer func() {
		if excused {
			w.t.Logf("the host had no processor to spare: not judged until %v after the hang; %s", time.Since(began).Round(time.Second), why)
		}
	}()
	w.eventually("it is judged", within+quiet, func() bool {
		is, err := w.Get(w.ctx, was.GetName())
		w.must(err)
		why = is.GetHealthWhy()
		excused = excused || strings.Contains(why, "not judged")
		return is.GetCrashes() > was.GetCrashes()
	})
}

// A VMM that doesn't run is met as what it is: by its process, or by the guest
// in it that answers no more.
func TestASickVMMIsHealed(t *testing.T) {
	t.Parallel()
	process := &v1.Check{Type: "process"}
	for _, one := range quick(2, []struct {
		name     string
		signal   unix.Signal
		checks   []*v1.Check
		cause    string
		evidence []string
	}{
		{"stopped", unix.SIGSTOP, []*v1.Check{process}, "health-failed", []string{"process", "is stopped (SIGSTOP)"}},
		{"segv", unix.SIGSEGV, []*v1.Check{process}, "vmm-crash", []string{"signal 11 (SEGV)"}},
		{"stopped-agent", unix.SIGSTOP, nil, "health-failed", []string{"guest-agent"}},
		{"stopped-vmm", unix.SIGSTOP, []*v1.Check{{Type: "vmm"}}, "health-failed", []string{"vmm"}},
		{"abort", unix.SIGABRT, nil, "vmm-crash", []string{"signal 6 (ABRT)"}},
	}) {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			vm := w.up(watched("sick", "", one.checks...))
			p, err := w.VMM(int(vm.GetPid()))
			w.must(err)
			fd, err := p.Signal(one.signal)
			w.must(err)
			w.must(unix.Close(fd))
			w.healed(vm, one.cause, one.evidence...)
		})
	}
}

// The same where systemd has the VMM: its verdict is the evidence.
func TestASickVMMOfSystemdIsHealed(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	for _, one := range []struct{ name, signal, cause, evidence string }{
		{"stopped", "STOP", "health-failed", "is stopped (SIGSTOP)"},
		{"segv", "SEGV", "vmm-crash", "signal 11 (SEGV)"},
	} {
		spec := s.PVH(one.name)
		spec.Health = append(spec.Health, &v1.Check{Type: "process", Interval: seconds(1), Timeout: seconds(1), Failures: 2})
		vm := s.up(spec)
		s.systemctl("kill", "-s", one.signal, "blixard-"+one.name+".service")
		end := s.ended(one.name, boot)
		if end.GetCause() != one.cause {
			t.Errorf("%s: want %s, got %s: %s", one.name, one.cause, end.GetCause(), end.GetWhy())
		}
		is := s.healthy(one.name, end.GetRevision())
		all, err := s.Crashes(s.ctx, one.name)
		s.must(err)
		if len(all) != 1 || !strings.Contains(all[0].GetEvidence(), one.evidence) || is.GetIncarnation() != vm.GetIncarnation()+1 {
			t.Errorf("%s: want one death that says %q, and the next incarnation; got %v, incarnation %d", one.name, one.evidence, all, is.GetIncarnation())
		}
	}
}

// A guest that doesn't do its work while its VMM is well is healed for what it
// lacks, and once: the next boot is sound.
func TestASickGuestIsHealed(t *testing.T) {
	t.Parallel()
	service := &v1.Check{Type: "guest-process", Process: "sleep", AtLeast: 1}
	for _, one := range quick(2, []struct {
		name, words string
		ask         []string
		check       *v1.Check // beside the agent's
		cause       string
		evidence    []string
		busy        bool // what ails it wants a processor, and is judged only while the host gives one
	}{
		{"service", "blixard.service", []string{"fault", "dead-service"}, service, "health-failed", []string{"sleep: 0 run, at least 1 wanted"}, false},
		{"silent", "blixard.beat=500ms", []string{"fault", "silent"}, beats(3 * time.Second), "health-failed", []string{"beat [0-9]+", "was not seen for 3s"}, false},
		{"hang", "blixard.beat=500ms", []string{"fault", "hang"}, beats(3 * time.Second), "health-failed", nil, false},
		{"spins", "blixard.beat=500ms", []string{"fault", "lockup"}, beats(3 * time.Second), "health-failed", nil, true},
		{"agent", "", []string{"fault", "dead-agent"}, nil, "health-failed", []string{"guest-agent"}, false},
		{"exec", "", []string{"fault", "dead-agent"}, &v1.Check{Type: "exec", Command: []string{"true"}}, "health-failed", []string{"exec"}, false},
		{"memory", "", []string{"fault", "oom"}, nil, "guest-panic", nil, true},
		{"bomb", "", []string{"bomb"}, nil, "health-failed|guest-panic", nil, true},
	}) {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			w := begin(t, node.Options{})
			var checks []*v1.Check
			if one.check != nil {
				checks = append(checks, one.check)
			}
			vm := w.up(watched("sick", one.words, checks...))
			w.hurt("sick", one.ask...)
			if one.busy {
				w.judged(vm, boot)
			}
			crash, _ := w.healed(vm, one.cause, one.evidence...)
			t.Logf("%s (%s): %s", crash.GetCause(), crash.GetConfidence(), crash.GetEvidence())
		})
	}
}

// A guest whose kernel ends the one that ate its memory helps itself: nobody
// else has a reason to.
func TestAGuestThatEndsItsEaterLivesOn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := watched("eaten", "blixard.service", &v1.Check{Type: "guest-process", Process: "sleep"})
	spec.MemoryBytes = 256 << 20
	vm := w.up(spec)
	if out, err := w.Inside(w.ctx, "eaten", "eat", "215"); err == nil || !strings.Contains(err.Error(), "exit code 137") {
		t.Errorf("want it killed by its kernel, got %q, %v", out, err)
	}
	if _, err := w.Inside(w.ctx, "eaten", "true"); err != nil {
		t.Errorf("its agent answers no more: %v", err)
	}
	w.same(vm, "after its memory was at its end")
}
