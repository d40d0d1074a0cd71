package chaos

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// point is a step of a VM's life at which the daemon dies: before the turn into
// that phase is written, or after that and before anything of it is done.
type point struct {
	phase string
	begin string // the phase that the VM is brought to before the daemon is armed: stopped, running or failed
	act   func(w *world, name string) error
	is    string // how it ends up where the act was acknowledged or needed no asking
}

func points() []point {
	start := func(w *world, name string) error { _, err := w.StartOf(w.ctx, name); return err }
	stop := func(w *world, name string) error { _, err := w.StopOf(w.ctx, name, false); return err }
	kill := func(w *world, name string) error { _, err := w.StopOf(w.ctx, name, true); return err }
	remove := func(w *world, name string) error { _, err := w.DeleteOf(w.ctx, name); return err }
	crash := func(w *world, name string) error {
		for _, p := range w.VMMs() {
			if strings.Contains(strings.Join(p.Argv, " "), "guest=blixard-"+name+",") {
				return p.Kill()
			}
		}
		return nil // the daemon has died while it adopted
	}
	wait := func(*world, string) error { return nil }
	return []point{
		{"preparing", "stopped", start, "running"},
		{"starting", "stopped", start, "running"},
		{"running", "stopped", start, "running"},
		{"stopping", "running", stop, "stopped"},
		{"killing", "running", kill, "stopped"},
		{"reaping", "running", kill, "stopped"},
		{"stopped", "running", kill, "stopped"},
		{"reaping", "running", crash, "running"},
		{"backoff", "running", crash, "running"},
		{"preparing", "running", crash, "running"},
		{"starting", "running", crash, "running"},
		{"removing", "stopped", remove, "removed"},
		{"killing", "running", remove, "removed"},
		{"reaping", "running", remove, "removed"},
		{"removing", "running", remove, "removed"},
		{"adopting", "running", wait, "running"},
	}
}

// The daemon dies at every step of start, stop, delete, backoff and adoption.
// What it had acknowledged is finished by the next one, and nothing runs twice:
// P1, P2, P3, P4, P5, P7.
func TestDaemonMayDieAtEveryStep(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{Args: []string{"--enable-faults"}})
	for i, p := range points() {
		for _, when := range []string{"before", "written"} {
			name := fmt.Sprintf("%s-%s-%d", when, p.phase, i)
			story := fmt.Sprintf("%s the write of %s, from %s to %s", when, p.phase, p.begin, p.is)
			w.dieAt(p, when+":"+p.phase+":"+name, name, story)
			if t.Failed() {
				return
			}
		}
	}
}

func (w *world) dieAt(p point, fault, name, story string) {
	w.t.Helper()
	spec := w.pvh(name)
	spec.Restart = node.Impatient(100)
	if p.phase == "backoff" || p.phase == "reaping" { // a restart at once begins without a release
		spec.Restart = node.Patient(200e6)
	}
	spec.Stop = &v1.Stop{Timeout: durationpb.New(200e6)} // this guest hears nothing
	_, err := w.Create(w.ctx, spec, p.begin == "running")
	w.must(err)
	if p.begin == "running" {
		w.healthy(name, 0)
	}
	w.must(w.Kill())
	w.Arm(fault)
	w.must(w.Launch())
	told := w.Ready(w.ctx) // the daemon may die while it adopts, and answers nobody then
	if told == nil {
		told = p.act(w, name)
	}
	if w.PID() != 0 { // else it died before it answered
		if _, err := w.Exit(soon); err != nil {
			w.t.Errorf("%s: the daemon lives: %v", story, err)
			return
		}
	}
	w.Arm("")
	w.start()
	w.settles(name, p.is, story, told)
}

// settles waits until the VM is as it was asked, or as it was where the ask was
// not acknowledged, and holds nothing else.
func (w *world) settles(name, want, story string, told error) {
	w.t.Helper()
	is, err := w.Get(w.ctx, name)
	switch {
	case err != nil && want == "removed":
		return
	case err != nil:
		w.t.Fatalf("%s: %v", story, err)
	case told == nil && want == "stopped" && is.GetIntent() != "stopped", told == nil && want == "running" && is.GetIntent() != "running":
		w.t.Errorf("%s: it is wanted %s though %s was acknowledged (P3)", story, is.GetIntent(), want)
	}
	switch is.GetIntent() {
	case "running":
		w.healthy(name, 0)
	case "stopped":
		w.reaches(name, "stopped", soon)
	}
	if is.GetIntent() != "removed" {
		_, err = w.DeleteOf(w.ctx, name)
		w.must(err)
	}
	w.must(w.Removed(w.ctx, name, soon))
	for _, leak := range w.Leaks() {
		w.t.Errorf("%s: left behind: %s", story, leak)
	}
}
