package sim

import (
	"context"
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

var goodPlants = []planted{
	{"a known-good state that is removed with the others", "checkGood", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Folders = purgingFolders{p.Folders}
		return p
	}}},
	{"known-good states that are never removed", "checkGood", Plant{Ports: func(_ *stage, p host.Ports) host.Ports {
		p.Folders = hoardingFolders{p.Folders}
		return p
	}}},
	{"a known-good state that goes back to the one before", "checkGood", Plant{
		Store: func(_ *stage, st persistence.Store) persistence.Store {
			return firstStore{st, &sync.Mutex{}, map[vm.ID]*vm.SavedState{}}
		},
		Ports: func(_ *stage, p host.Ports) host.Ports {
			p.Folders = hoardingFolders{p.Folders}
			return p
		},
	}},
	{"a known-good state that is loaded though nobody decided that", "checkGood", loads(func(r *vm.Record) {
		if r.State.Good != nil {
			r.State.Restore = r.State.Incarnation + 1
		}
	})},
}

// purgingFolders remove known-good states whatever the record names.
type purgingFolders struct{ host.Folders }

func (f purgingFolders) DropStates(ctx context.Context, r vm.Record) error {
	r.State.Good = nil
	return f.Folders.DropStates(ctx, r)
}

// firstStore names the first known-good state for good.
type firstStore struct {
	persistence.Store
	mu    *sync.Mutex
	first map[vm.ID]*vm.SavedState
}

func (f firstStore) Commit(t persistence.Turn) (uint64, error) {
	f.mu.Lock()
	if g := t.Record.State.Good; g != nil {
		if f.first[t.Record.ID] == nil {
			f.first[t.Record.ID] = g
		}
		t.Record.State.Good = f.first[t.Record.ID]
	}
	f.mu.Unlock()
	return f.Store.Commit(t)
}
