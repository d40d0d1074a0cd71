package actors

import (
	"encoding/json"

	"go.uber.org/zap"

	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// overheadsKey is where the store keeps what was learned of VMMs' own memory.
const overheadsKey = "overheads"

// worthWriting is how far what is known may run ahead of what is stored: a crash
// costs no more, and a model that may move by some hundred MiB in its life costs
// as many writes.
const worthWriting = vm.MiB

// overheadsIn reads what was learned. What can't be read is learned again.
func overheadsIn(store persistence.Store, log *zap.Logger) policies.Overheads {
	b, err := store.Meta(overheadsKey)
	if err != nil || b == nil {
		return nil
	}
	var o policies.Overheads
	if err := json.Unmarshal(b, &o); err != nil {
		log.Warn("what was learned of VMMs' memory can't be read, it is learned again", zap.Error(err))
		return nil
	}
	return o
}

// learn takes in what the VMMs need besides their guests' RAM.
func (t *tracker) learn(all usages) {
	if len(all) == 0 {
		return
	}
	var look []policies.Seen
	for _, v := range t.env.views.list() {
		s := v.rec.State
		if one, ok := all[v.rec.ID]; ok && s.Phase == vm.Running && !s.Pending {
			look = append(look, policies.Seen{Spec: v.rec.Spec, Charged: one.Charged})
		}
	}
	t.overheads = t.overheads.Learn(look, t.env.accel())
	if t.overheads.Apart(t.stored) < worthWriting {
		return
	}
	t.stored = t.overheads
	b, err := json.Marshal(t.overheads)
	if err != nil {
		panic("actors: encode overheads: " + err.Error()) // plain values can't fail
	}
	env := t.env
	go func() { // a store that stalls must not keep anything from being admitted
		if err := env.store.SetMeta(overheadsKey, b); err != nil {
			env.log.Warn("what was learned of VMMs' memory was not written", zap.Error(err))
		}
	}()
}
