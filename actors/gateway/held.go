package gateway

import (
	"context"
	"time"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// lookAtBundles bounds the one look at the disk; afterwards it is known.
const lookAtBundles = 2 * time.Second

// held is what is kept of the deaths of each VM; nil: nobody knows.
func (d *Door) held(ctx context.Context) map[vm.Name]vm.Bytes {
	if d.Bundles == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookAtBundles)
	defer cancel()
	all, err := d.Bundles.Held(ctx)
	if err != nil { // status is answered all the same (P11)
		d.Log.Sugar().Warnw("nobody knows what bundles hold", "error", err)
		return nil
	}
	if all == nil {
		all = map[vm.Name]vm.Bytes{}
	}
	return all
}

// bundlesOf is what is kept of the deaths of one VM.
func (d *Door) bundlesOf(name vm.Name, held map[vm.Name]vm.Bytes) *blixardv1.BundlesHeld {
	if held == nil {
		return nil
	}
	return &blixardv1.BundlesHeld{Bytes: int64(held[name]), QuotaBytes: int64(d.Node.BundleQuota().VM)}
}

// bundlesOfAll is what is kept of all deaths on the node.
func (d *Door) bundlesOfAll(ctx context.Context) *blixardv1.BundlesHeld {
	held := d.held(ctx)
	if held == nil {
		return nil
	}
	return &blixardv1.BundlesHeld{Bytes: int64(vm.HeldByAll(held)), QuotaBytes: int64(d.Node.BundleQuota().Node)}
}

// rungs are a VM's remedies with how often each was used, by the policy's count.
func rungs(now time.Time, r vm.Record) []*blixardv1.RungUse {
	var out []*blixardv1.RungUse
	for i, used := range policies.RungsUsed(now, r) {
		rung := r.Spec.Remedies[i]
		out = append(out, &blixardv1.RungUse{Do: string(rung.Do), Used: int32(used), Times: int32(rung.Times)})
	}
	return out
}
