package actors

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

// away is a launcher that can't say who lives.
type away struct{ host.Launcher }

func (away) List(context.Context) ([]vm.FoundVMM, error) {
	return nil, host.Fail(host.Transient, "list VMMs", errors.New("systemd doesn't answer just now"))
}

// TestALookWithoutVMMsSeesTheRest: a bus that is away hides processes, and no
// link and no folder.
func TestALookWithoutVMMsSeesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := fake.New(1, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{Boot: time.Second} }, t.Logf)
		p := w.Daemon().Ports()
		rec := vm.Record{ID: "a", Slot: 3, Spec: vm.Spec{Name: "web"}, State: vm.State{Incarnation: 7, BootID: p.BootID}}
		nics := []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
		if err := p.Folders.Prepare(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Links.Ensure(t.Context(), rec.Ref(), nics, 1, 1); err != nil {
			t.Fatal(err)
		}
		p.Launcher = away{p.Launcher}
		found, err := inventory(t.Context(), p)
		if err != nil || found.Blind == "" || len(found.VMMs) != 0 || len(found.Links) != 1 || len(found.Folders) != 1 {
			t.Errorf("it found %+v, %v", found, err)
		}
	})
}
