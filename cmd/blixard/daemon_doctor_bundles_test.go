package main

import (
	"errors"
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestDoctorTellsWhatBundlesHold(t *testing.T) {
	q := vm.BundleQuota{Node: vm.GiB, VM: 256 * vm.MiB}
	for story, one := range map[string]struct {
		held  map[vm.Name]vm.Bytes
		err   error
		state string
		why   string
	}{
		"nothing":      {nil, nil, "ok", "the evidence of deaths holds 0B of at most 1GiB"},
		"one VM":       {map[vm.Name]vm.Bytes{"web": vm.MiB}, nil, "ok", "the evidence of deaths holds 1MiB of at most 1GiB"},
		"several":      {map[vm.Name]vm.Bytes{"web": vm.MiB, "db": 200 * vm.MiB, "app": 200 * vm.MiB}, nil, "ok", "the evidence of deaths holds 401MiB of at most 1GiB, most of it of app: 200MiB of at most 256MiB"},
		"too much":     {map[vm.Name]vm.Bytes{"web": 2 * vm.GiB}, nil, "warn", "the evidence of deaths holds 2GiB of at most 1GiB"},
		"nobody knows": {nil, errors.New("the folder is gone"), "warn", "the folder is gone"},
	} {
		f := judgeBundles(one.held, q, one.err)
		if f.State != one.state || f.Why != one.why || (f.Try == "") != (f.State == "ok") {
			t.Errorf("%s: %+v", story, f)
		}
	}
}
