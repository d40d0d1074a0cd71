package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// faultVariable names the point at which a daemon with --enable-faults ends
// itself by SIGKILL: WHEN:PHASE[:NAME]. WHEN is before (the turn into the phase is
// about to be written) or written (it is durable, and nothing of it was done).
const faultVariable = "BLIXARD_FAULT"

// fault is one point in the life of a VM at which the daemon dies.
type fault struct {
	when  string
	phase vm.Phase
	name  vm.Name // empty: any
}

// readFault is nil where no fault is enabled or asked for.
func readFault(enabled bool) (*fault, error) {
	text := os.Getenv(faultVariable)
	if text == "" || !enabled {
		return nil, nil //nolint:nilnil // none is an answer here
	}
	when, rest, _ := strings.Cut(text, ":")
	phase, name, _ := strings.Cut(rest, ":")
	f := fault{when: when, name: vm.Name(name)}
	if err := f.phase.UnmarshalText([]byte(phase)); err != nil || when != "before" && when != "written" {
		return nil, &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("%s is %.60q", faultVariable, text), Try: "before:PHASE, written:PHASE, or one of them with :NAME",
		}
	}
	return &f, nil
}

// meets ends the process where this is the point. Staying in a phase is no
// point: it would be met again and again by a daemon that is started anew.
func (f *fault) meets(when string, was, is vm.Phase, name vm.Name) {
	if f.when == when && f.phase == is && was != is && (f.name == "" || f.name == name) {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // nothing more may be done
	}
}

// faultyStore is the store with the point before a write.
type faultyStore struct {
	persistence.Store
	fault *fault
}

// Commit dies before it writes.
func (s faultyStore) Commit(t persistence.Turn) (uint64, error) {
	if t.Entry != nil {
		s.fault.meets("before", t.Entry.From, t.Record.State.Phase, t.Record.Spec.Name)
	}
	return s.Store.Commit(t)
}

// faultyObserver has the point after one.
type faultyObserver struct {
	actors.Observer
	fault *fault
}

// Turned dies before anything of the turn is done.
func (o faultyObserver) Turned(t actors.Turned) {
	o.fault.meets("written", t.Before.State.Phase, t.After.State.Phase, t.After.Spec.Name)
	o.Observer.Turned(t)
}

// clockVariable names a file that says by how much the clock of a daemon with
// --enable-faults is wrong, such as -1h; it may change at any time.
const clockVariable = "BLIXARD_CLOCK"

// clock is the machine's, or a wrong one for a test.
func (d *daemon) clock() host.Clock {
	if path := os.Getenv(clockVariable); d.faults && path != "" {
		return wrongClock{path: path}
	}
	return wallClock{}
}

// wrongClock has no monotonic part: each jump shows in every difference, as
// after a restart of the daemon it would anyway.
type wrongClock struct {
	wallClock
	path string
}

// Now is off by what the file says; by nothing where it says nothing.
func (c wrongClock) Now() time.Time {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return time.Now()
	}
	off, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return time.Now()
	}
	return time.Now().Round(0).Add(off)
}
