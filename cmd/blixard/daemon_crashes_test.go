package main

import (
	"testing"
	"time"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestTheQuotaOfBundlesIsRead(t *testing.T) {
	for text, want := range map[string]vm.BundleQuota{
		"{}": policies.DefaultBundleQuota,
		"crashes: {node: 2GiB, vm: 1MiB, count: 3, age: 48h}": {Node: 2 * vm.GiB, VM: vm.MiB, Count: 3, Age: 48 * time.Hour},
	} {
		var c config
		if err := specfile.Strict("config", []byte(text), &c); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Crashes.quota(); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"crashes: {node: 1KiB}", "crashes: {vm: 0B}", "crashes: {count: 0}", "crashes: {count: 1001}", "crashes: {age: 1s}"} {
		var c config
		if err := specfile.Strict("config", []byte(text), &c); err != nil {
			continue
		}
		if _, err := c.Crashes.quota(); refusalOf(err).Code != vm.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}
