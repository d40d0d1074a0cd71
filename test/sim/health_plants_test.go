package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// deafMeter tells of no thread that waits.
type deafMeter struct{ host.Meter }

func (m deafMeter) Look(p vm.Process) (vm.Glance, error) {
	g, err := m.Meter.Look(p)
	g.Waited, g.Waits = 0, nil
	return g, err
}

// lookByAsking reads each VM's status through its actor.
func lookByAsking(s *stage) []vm.Record {
	list := s.node.List()
	for _, r := range list {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, _ = s.node.Exec(ctx, r.Spec.Name, []string{"true"})
		cancel()
	}
	return list
}

type strictStore struct{ persistence.Store }

func (s strictStore) Load() ([]vm.Record, []persistence.Broken, error) {
	records, broken, err := s.Store.Load()
	if err == nil && len(broken) > 0 {
		err = fmt.Errorf("%d records can't be read", len(broken))
	}
	return records, broken, err
}
