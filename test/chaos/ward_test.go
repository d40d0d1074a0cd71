package chaos

import (
	"context"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// ward is what a scenario asks of its node and waits for, wherever that runs.
type ward struct {
	node *node.Client
	t    *testing.T
	ctx  context.Context //nolint:containedctx // lives as long as the scenario
}

func (w *ward) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// up creates and starts the VM and waits until it is running, and healthy where it has a check.
func (w *ward) up(spec *v1.VMSpec) *v1.VM {
	w.t.Helper()
	_, err := w.node.Create(w.ctx, spec, true)
	w.must(err)
	return w.healthy(spec.GetName(), 0)
}

func (w *ward) healthy(name string, after uint64) *v1.VM {
	w.t.Helper()
	vm, err := w.node.Wait(w.ctx, name, node.Goal{Phase: "running", Health: "healthy", After: after, Within: boot})
	w.must(err)
	return vm
}

// next waits until a later incarnation of the VM is up and well. A later
// revision is not enough: a round that comes late is a turn of the same one.
func (w *ward) next(was *v1.VM) *v1.VM {
	w.t.Helper()
	deadline := time.Now().Add(boot)
	is := was
	for is.GetIncarnation() <= was.GetIncarnation() {
		is = w.healthy(was.GetName(), is.GetRevision())
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is still at incarnation %d", was.GetName(), is.GetIncarnation())
		}
	}
	return is
}

func (w *ward) reaches(name, phase string, within time.Duration) *v1.VM {
	w.t.Helper()
	vm, err := w.node.Wait(w.ctx, name, node.Goal{Phase: phase, Within: within})
	w.must(err)
	return vm
}

// event waits for the first event of the journal that matches.
func (w *ward) event(what string, within time.Duration, match func(*v1.Event) bool) *v1.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, within)
	defer cancel()
	var found *v1.Event
	err := w.node.Watch(ctx, 0, true, func(e *v1.Event) bool {
		if match(e) {
			found = e
		}
		return found == nil
	})
	if found == nil {
		w.t.Fatalf("no event within %v: %s (%v)", within, what, err)
	}
	return found
}

// ended waits until an incarnation of the VM has ended, and returns the event that tells why.
func (w *ward) ended(name string, within time.Duration) *v1.Event {
	w.t.Helper()
	return w.event("the end of "+name, within, func(e *v1.Event) bool { return e.GetVm() == name && e.GetCause() != "" })
}

// refused fails unless the error is a refusal of that code, and returns its sentence.
func (w *ward) refused(err error, code string) string {
	w.t.Helper()
	r := node.Refusal(err)
	if r == nil || r.GetCode() != code {
		w.t.Fatalf("want a refusal %q, got %v", code, err)
	}
	return r.GetWhy()
}

// oneLine fails unless a person gets one clear line.
func (w *ward) oneLine(text string) {
	w.t.Helper()
	text = strings.TrimSpace(text)
	if text == "" || strings.Contains(text, "goroutine ") || strings.Count(text, "\n") > 0 {
		w.t.Errorf("want one clear line, got:\n%s", text)
	}
}

// eventually waits for what nobody tells of.
func (w *ward) eventually(what string, within time.Duration, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for !is() {
		select {
		case <-deadline:
			w.t.Fatalf("not within %v: %s", within, what)
		case <-tick.C:
		}
	}
}
