package actors

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/blixard/blixard/vm"
)

// onShelves shows what the evidence of deaths holds of the disk, beside its quota.
type onShelves struct{ node *Node }

var (
	vmBundles       = ofVM("bundle_bytes", "Disk that the evidence of the VM's deaths holds, and its memory that a person asked for; absent: none.")
	nodeBundles     = ofNode("bundle_bytes", "Disk that the evidence of all deaths holds.")
	nodeBundleQuota = ofNode("bundle_quota_bytes", "Disk that the evidence of all deaths may hold: beyond it the oldest goes.")
	vmBundleQuota   = ofNode("vm_bundle_quota_bytes", "Disk that the evidence of one VM's deaths may hold.")
)

// shelvesTime bounds a scrape where the disk stalls.
const shelvesTime = 2 * time.Second

// Describe tells which metrics there are.
func (s onShelves) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{vmBundles, nodeBundles, nodeBundleQuota, vmBundleQuota} {
		to <- d
	}
}

// Collect tells what is known of the shelves: only the first look is at the disk.
func (s onShelves) Collect(to chan<- prometheus.Metric) {
	if s.node.env.ports.Bundles == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), shelvesTime)
	defer cancel()
	held, err := s.node.env.ports.Bundles.Held(ctx)
	if err != nil {
		return
	}
	for name, bytes := range held {
		to <- prometheus.MustNewConstMetric(vmBundles, prometheus.GaugeValue, float64(bytes), string(name))
	}
	q := s.node.BundleQuota()
	to <- prometheus.MustNewConstMetric(nodeBundles, prometheus.GaugeValue, float64(vm.HeldByAll(held)))
	to <- prometheus.MustNewConstMetric(nodeBundleQuota, prometheus.GaugeValue, float64(q.Node))
	to <- prometheus.MustNewConstMetric(vmBundleQuota, prometheus.GaugeValue, float64(q.VM))
}
