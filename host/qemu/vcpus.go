package qemu

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// vcpu is what of QEMU's answer matters.
type vcpu struct {
	Index  int `json:"cpu-index"`
	Thread int `json:"thread-id"`
}

// VCPUs asks QEMU for the threads of the vCPUs, without waking any of them; see
// host.Session. Where vCPUs take turns, all name the same thread.
func (s *session) VCPUs(ctx context.Context) ([]int, error) {
	const command = "query-cpus-fast"
	b, err := s.call(ctx, command, nil)
	if err != nil {
		return nil, err
	}
	var all []vcpu
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, host.Fail(host.Broken, command, fmt.Errorf("not understood: %q", clip(string(b))))
	}
	if len(all) > vm.MaxCPUs {
		return nil, host.Fail(host.Broken, command, fmt.Errorf("it tells of %d, and no guest has more than %d", len(all), vm.MaxCPUs))
	}
	slices.SortFunc(all, func(a, b vcpu) int { return cmp.Compare(a.Index, b.Index) })
	out := make([]int, len(all))
	for i := range all {
		out[i] = all[i].Thread
	}
	return out, nil
}
