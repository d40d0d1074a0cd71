package persistence

import (
	"bytes"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/blixard/blixard/vm"
)

// reader reads keys in order, or from the last one back. Key and value are
// valid only during the call of visit, which returns false to end the scan.
type reader interface {
	scan(from, to []byte, visit func(key, value []byte) bool) error
	scanBack(from, to []byte, visit func(key, value []byte) bool) error
}

// recordParts are the values of one VM in the three families; nil: missing.
type recordParts struct {
	config, state, resource []byte
}

func load(r reader) ([]vm.Record, []Broken, error) {
	parts := map[vm.ID]*recordParts{}
	for f, field := range map[family]func(*recordParts) *[]byte{
		configs:   func(p *recordParts) *[]byte { return &p.config },
		states:    func(p *recordParts) *[]byte { return &p.state },
		resources: func(p *recordParts) *[]byte { return &p.resource },
	} {
		from, to := f.bounds()
		err := r.scan(from, to, func(key, value []byte) bool {
			id := vm.ID(key[len(f):])
			if parts[id] == nil {
				parts[id] = &recordParts{}
			}
			*field(parts[id]) = bytes.Clone(value)
			return true
		})
		if err != nil {
			return nil, nil, fmt.Errorf("reading the records: %w", err)
		}
	}
	return decodeAll(parts)
}

// decodeAll uses every core: decoding is what a daemon with many VMs waits for at its start.
func decodeAll(parts map[vm.ID]*recordParts) ([]vm.Record, []Broken, error) {
	ids := slices.Sorted(maps.Keys(parts))
	records, errs := make([]vm.Record, len(ids)), make([]error, len(ids))
	var (
		wg     sync.WaitGroup
		stride = runtime.GOMAXPROCS(0)
	)
	for start := range stride {
		wg.Go(func() {
			for i := start; i < len(ids); i += stride {
				records[i], errs[i] = decodeRecord(ids[i], *parts[ids[i]])
			}
		})
	}
	wg.Wait()
	readable := make([]vm.Record, 0, len(ids))
	var broken []Broken
	for i, id := range ids {
		if errs[i] != nil {
			broken = append(broken, brokenRecord(id, *parts[id], errs[i]))
			continue
		}
		readable = append(readable, records[i])
	}
	return readable, broken, nil
}

// brokenRecord keeps of a record that can't be read what may still be in use.
func brokenRecord(id vm.ID, parts recordParts, why error) Broken {
	b := Broken{ID: id, Why: why.Error()}
	var held vm.Reservation
	if decode(parts.resource, &held) == nil {
		b.Reservation = held
	}
	var c config
	if decode(parts.config, &c) != nil || c.ID != id {
		return b
	}
	if name, err := vm.ParseName(string(c.Spec.Name)); err == nil {
		b.Name, b.Slot = name, c.Slot
	}
	return b
}

func readEvents(r reader, after, last uint64, limit int) ([]vm.Entry, error) {
	if limit <= 0 || after >= last {
		return nil, nil
	}
	var out []vm.Entry
	err := r.scan(eventKey(after+1), eventKey(last+1), func(key, value []byte) bool {
		var e vm.Entry
		if err := decode(value, &e); err != nil {
			e = vm.Entry{Kind: Unreadable, Why: "this event can't be read: " + err.Error()}
		}
		e.Sequence = numberOf(key)
		out = append(out, e)
		return len(out) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("reading events after %d: %w", after, err)
	}
	return out, nil
}

func lastEvent(r reader) (uint64, error) {
	var last uint64
	from, to := events.bounds()
	err := r.scanBack(from, to, func(key, _ []byte) bool {
		last = numberOf(key)
		return false
	})
	return last, err
}

func readCrashes(r reader, id vm.ID, limit int) ([]vm.Crash, error) {
	if limit <= 0 {
		return nil, nil
	}
	if err := checkID(id); err != nil {
		return nil, err
	}
	var out []vm.Crash
	from, to := prefixBounds(crashPrefix(id))
	err := r.scanBack(from, to, func(key, value []byte) bool {
		var c vm.Crash
		if err := decode(value, &c); err != nil {
			c = vm.Crash{Failure: vm.Failure{
				Cause: vm.CauseUnknown, Evidence: "this crash record can't be read: " + err.Error(),
			}}
		}
		c.Number = numberOf(key)
		out = append(out, c)
		return len(out) < limit
	})
	if err != nil {
		return nil, fmt.Errorf("reading the crashes of %s: %w", id, err)
	}
	return out, nil
}
