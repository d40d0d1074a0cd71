package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhatTheNodeMayPromise(t *testing.T) {
	c, err := configOf(t, "")
	if err != nil || c.shares.Terms != policies.DefaultTerms {
		t.Errorf("by default %+v, %v", c.shares.Terms, err)
	}
	c, err = configOf(t, `
resources:
  cpus: 1.5
  memory: 8GiB
  disk: 100GB
  overcommit: {cpu: 8, memory: 1.25, disk: 2}
  reserve: {cpus: 0.5, memory: 0B, disk: 10GiB}
  disks: allocated
`)
	want := policies.Terms{
		Override:   vm.Capacity{CPUs: 1.5, Memory: 8 * vm.GiB, Disk: 100_000_000_000},
		Overcommit: vm.Overcommit{CPU: 8, Memory: 1.25, Disk: 2},
		Reserve:    vm.Reserve{CPUs: 0.5, Disk: 10 * vm.GiB}, Allocated: true,
	}
	if err != nil || c.shares.Terms != want {
		t.Errorf("%+v, %v; want %+v", c.shares.Terms, err, want)
	}
	c, err = configOf(t, "resources: {reserve: {disk: 2.5%}}")
	if err != nil || c.shares.Terms.DiskShare != 0.025 || c.shares.Terms.Reserve.Disk != 0 {
		t.Errorf("%+v, %v", c.shares.Terms, err)
	}
}

func TestRatiosAndSizesThatMeanNothing(t *testing.T) {
	for text, why := range map[string]string{
		"resources: {overcommit: {memory: 0}}":     "resources.overcommit.memory is 0",
		"resources: {overcommit: {cpu: -1}}":       "resources.overcommit.cpu is -1",
		"resources: {overcommit: {disk: .nan}}":    "resources.overcommit.disk is NaN",
		"resources: {overcommit: {disk: .inf}}":    "resources.overcommit.disk is +Inf",
		"resources: {cpus: 0}":                     "resources.cpus is 0",
		"resources: {memory: 0B}":                  "resources.memory is 0B",
		"resources: {memory: 8G}":                  "the unit",
		"resources: {reserve: {cpus: -0.5}}":       "resources.reserve.cpus is -0.5",
		"resources: {reserve: {disk: 100%}}":       "no percentage",
		"resources: {reserve: {disk: -5%}}":        "no percentage",
		"resources: {reserve: {disk: NaN%}}":       "no percentage",
		"resources: {disks: sparse}":               `resources.disks is "sparse"`,
		"resources: {overcomit: {cpu: 2}}":         "overcomit",
		"resources: {reserve: {memory: -1MiB}}":    "no size",
		"resources: {overcommit: {memory: \"x\"}}": "",
	} {
		_, err := configOf(t, text)
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", text, err, why)
		}
		if r, ok := errors.AsType[*vm.Refusal](err); ok && r.Try == "" {
			t.Errorf("%s: no word on what to do", text)
		}
	}
}
