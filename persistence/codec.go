package persistence

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/blixard/blixard/vm"
)

// codecJSON is the codec of every value that is written now: this byte, then
// the JSON of the vm noun. A reader must know every codec that was ever
// written; testdata keeps a value of each.
const codecJSON byte = 1

// config is the value of vm_configs: with the state and the reservation it
// makes a vm.Record.
type config struct {
	ID   vm.ID   `json:"id"`
	Slot uint32  `json:"slot"`
	Spec vm.Spec `json:"spec"`
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding %T: %v", v, err)
	}
	return append([]byte{codecJSON}, b...), nil
}

func decode(value []byte, to any) error {
	if len(value) == 0 {
		return errors.New("the value is empty")
	}
	if value[0] != codecJSON {
		return fmt.Errorf("codec %d is not known here: it was written by a newer version, or it is damaged", value[0])
	}
	return json.Unmarshal(value[1:], to)
}

// decodeRecord puts a record together. All that later becomes a path or a key is checked here.
func decodeRecord(id vm.ID, parts recordParts) (vm.Record, error) {
	var (
		c config
		r vm.Record
	)
	for _, part := range []struct {
		name  string
		value []byte
		to    any
	}{{"configuration", parts.config, &c}, {"state", parts.state, &r.State}, {"reservation", parts.resource, &r.Reservation}} {
		if part.value == nil {
			return r, fmt.Errorf("its %s is missing", part.name)
		}
		if err := decode(part.value, part.to); err != nil {
			return r, fmt.Errorf("reading its %s: %v", part.name, err)
		}
	}
	r.ID, r.Slot, r.Spec = c.ID, c.Slot, c.Spec
	return r, checkRecord(id, &r)
}

func checkRecord(id vm.ID, r *vm.Record) error {
	if err := checkID(id); err != nil {
		return err
	}
	if r.ID != id {
		return fmt.Errorf("it says that it is %.40q", string(r.ID))
	}
	if _, err := vm.ParseName(string(r.Spec.Name)); err != nil {
		return err
	}
	if r.Slot > vm.MaxSlot { // no VMM user could be derived from it (P13)
		return fmt.Errorf("its slot %d is above %d", r.Slot, vm.MaxSlot)
	}
	switch r.State.After {
	case vm.ThenStop, vm.ThenRestart, vm.ThenBackoff, vm.ThenHold, vm.ThenRemove, vm.ThenSuspend:
		return nil
	}
	return fmt.Errorf("its state has an unknown follow-up %.40q", string(r.State.After))
}
