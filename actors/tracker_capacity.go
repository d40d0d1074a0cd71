package actors

import "github.com/blixard/blixard/vm"

// reckon takes in what the machine has by now. What could not be read stays as
// it was.
func (t *tracker) reckon(has vm.Capacity, unknown string) {
	if unknown == "" {
		t.capacity, t.unknown = has, ""
	} else if t.capacity == (vm.Capacity{}) {
		t.unknown = unknown
	}
}
