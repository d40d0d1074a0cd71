package actors

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/vm"
)

// What the store remembers of the node's boots.
const (
	metaBoot      = "boot"      // the boot in which a daemon has last woken all VMs
	metaBootstrap = "bootstrap" // the last report, as JSON
)

// booted is the last report of the bootstrap, for who asks.
type booted struct {
	last atomic.Pointer[gateway.Bootstrap]
}

func (b *booted) set(r gateway.Bootstrap) { b.last.Store(&r) }

// breakOff ends the report of a bootstrap that a shutdown has ended; who still
// waited is left in it.
func (b *booted) breakOff(now time.Time) {
	r := b.get()
	if r.State != "running" {
		return
	}
	r.State, r.EndedAt, r.EndsAbout, r.Pressure = "done", now, time.Time{}, ""
	r.Waiting, r.Starting = slices.Concat(r.Starting, r.Waiting), nil
	b.set(r)
}

func (b *booted) get() gateway.Bootstrap {
	if r := b.last.Load(); r != nil {
		return *r
	}
	return gateway.Bootstrap{State: "none"}
}

// bootsAnew says whether no daemon has woken all VMs in this boot yet, and
// reads the report of the last bootstrap where one has.
func (e *env) bootsAnew() (bool, error) {
	last, err := e.store.Meta(metaBoot)
	if err != nil {
		return false, fmt.Errorf("read the last boot: %w", err)
	}
	if vm.BootID(last) != e.ports.BootID {
		return true, nil
	}
	text, err := e.store.Meta(metaBootstrap)
	var r gateway.Bootstrap
	if err == nil && json.Unmarshal(text, &r) == nil && r.BootID == e.ports.BootID {
		e.booted.set(r)
	}
	return false, nil
}

// keepReport remembers the report over restarts of the daemon; it is only a story.
func (e *env) keepReport(r gateway.Bootstrap) {
	text, err := json.Marshal(r)
	if err == nil {
		err = e.store.SetMeta(metaBootstrap, text)
	}
	if err != nil {
		e.log.Sugar().Warnw("the bootstrap's report was not kept", "error", err)
	}
}
