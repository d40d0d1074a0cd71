package actors

import (
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// The journal's kinds of what the tracker tells of the node's room.
const (
	overcommitted = "Overcommitted"
	fitsAgain     = "FitsAgain"
)

// terms are what admission decided by at one moment, for who asks without
// wanting anything held.
type terms struct {
	account   policies.Account
	overheads policies.Overheads
}

// need is what a spec would hold.
func (t *terms) need(s vm.Spec, accel string) vm.Reservation {
	return vm.ReservationFor(s, t.overheads.For(s, accel))
}

func (t *tracker) account() policies.Account {
	a := t.conf.Terms.Account(t.capacity, t.held, t.book.Sum(), t.book.Len())
	a.Unknown = t.unknown
	return a
}

// reckon takes in what the machine has by now. What could not be read stays as
// it was.
func (t *tracker) reckon(m sampled) {
	switch {
	case m.unknown == "":
		t.capacity, t.held, t.unknown = m.capacity, m.held, ""
	case t.capacity == (vm.Capacity{}):
		t.unknown = m.unknown
	default:
		t.env.log.Warn("the capacity could not be read, the last one stands", zap.String("why", m.unknown))
	}
	t.tellOver()
}

// tellOver journals that more is promised than can be kept, and that it fits
// again, once each.
func (t *tracker) tellOver() {
	over := strings.Join(t.account().Over(), ", ")
	if (over != "") == t.over {
		return
	}
	t.over = over != ""
	kind, why := fitsAgain, "what is reserved fits into the node again"
	if t.over {
		kind, why = overcommitted, fmt.Sprintf("nothing that grows is admitted until it fits: %s", over)
	}
	env := t.env
	go env.note(kind, vm.Record{}, why) // a store that stalls must not keep anything from being admitted
}

// publish shows what is known to whoever asks (P11).
func (t *tracker) publish() {
	a := t.account()
	t.env.terms.Store(&terms{account: a, overheads: t.overheads})
	t.env.resources.Store(&vm.NodeResources{
		Capacity: a.Capacity, Overcommit: a.Overcommit, Reserve: a.Reserve, Room: a.Room(), Reserved: a.Reserved, VMs: t.book.Len(),
		Over: a.Over(), Usage: t.samples.node, Alerts: t.watched.alerts,
	})
}
