package fake

import (
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Befall puts the guest of a live VMM into a state and has the VMM tell of it;
// false: none lives. A guest that doesn't run says nothing more.
func (w *World) Befall(id vm.ID, s host.GuestState, kind host.NoticeKind) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	befell := false
	for _, p := range w.live {
		if p.ref.VM == id {
			p.state, p.silent, befell = s, s != host.GuestRuns, true
			p.notify(host.Notice{Kind: kind, Detail: "befell it", At: time.Now()})
		}
	}
	return befell
}
