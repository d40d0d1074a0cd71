package persistence

import (
	"errors"
	"fmt"

	"github.com/blixard/blixard/vm"
)

// change is one write of a batch: a value set, a key deleted (no value), or
// all keys from key up to end deleted.
type change struct {
	key, end, value []byte
}

// changes computes what a turn writes, except for its entry, whose number
// isn't known yet.
func (t *Turn) changes() ([]change, error) {
	id := t.Record.ID
	if err := checkID(id); err != nil {
		return nil, err
	}
	if t.Removed {
		from, to := prefixBounds(crashPrefix(id))
		return []change{
			{key: configs.key(string(id))},
			{key: states.key(string(id))},
			{key: resources.key(string(id))},
			{key: from, end: to},
		}, nil
	}
	puts := []put{{states.key(string(id)), &t.Record.State}}
	if t.Whole {
		puts = append(puts,
			put{configs.key(string(id)), config{ID: id, Slot: t.Record.Slot, Spec: t.Record.Spec}},
			put{resources.key(string(id)), t.Record.Reservation})
	}
	if t.Crash != nil {
		puts = append(puts, put{crashKey(id, t.Crash.Number), t.Crash})
	}
	out, err := encodeAll(puts)
	if err != nil {
		return nil, fmt.Errorf("vm %s: %w", id, err)
	}
	if t.Crash != nil && t.Crash.Number > KeepCrashes {
		out = append(out, change{key: crashKey(id, t.Crash.Number-KeepCrashes)})
	}
	return out, nil
}

type put struct {
	key   []byte
	value any
}

func encodeAll(puts []put) ([]change, error) {
	out := make([]change, 0, len(puts)+3)
	for _, p := range puts {
		value, err := encode(p.value)
		if err != nil {
			return nil, err
		}
		out = append(out, change{key: p.key, value: value})
	}
	return out, nil
}

// needsConfig is the rule against a late writer: a VM whose configuration is
// not there (it was removed) gets no new state, which nobody could read.
func (t *Turn) needsConfig() bool { return !t.Whole && !t.Removed }

var errNoConfig = errors.New("the vm has no configuration in the store: it was removed, or never written whole")

// encodeEntry leaves the number out: the key has it.
func encodeEntry(e *vm.Entry) ([]byte, error) {
	if e == nil {
		return nil, nil
	}
	unnumbered := *e
	unnumbered.Sequence = 0
	return encode(unnumbered)
}

// pruneStep is how often old events are deleted: one range for so many events
// costs less than one key for each.
const pruneStep = 1024

// entryChanges writes the entry with this number, and prunes the journal at every step.
func entryChanges(sequence uint64, value []byte) []change {
	out := []change{{key: eventKey(sequence), value: value}}
	if sequence%pruneStep == 0 && sequence > KeepEvents {
		out = append(out, change{key: eventKey(0), end: eventKey(sequence - KeepEvents + 1)})
	}
	return out
}
