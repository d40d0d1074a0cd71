package main

import (
	"strings"
	"testing"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func TestWhatTheConfigurationSaysIsHeldAgainstTheMachine(t *testing.T) {
	has := vm.Capacity{CPUs: 2, Memory: 23 * vm.GiB, Disk: 91 * vm.GiB}
	for _, one := range []struct {
		what   string
		change func(*policies.Terms)
		state  string
		says   []string
	}{
		{"nothing", func(*policies.Terms) {}, "ok", []string{"8 processors, 22.5GiB of memory"}},
		{"less", func(t *policies.Terms) { t.Override = vm.Capacity{CPUs: 1, Memory: vm.GiB, Disk: vm.GiB} }, "ok", nil},
		{"more of all", func(t *policies.Terms) { t.Override = vm.Capacity{CPUs: 64, Memory: 100 * vm.GiB, Disk: 900 * vm.GiB} }, "warn", []string{
			"resources.cpus is 64, and the machine has 2", "resources.memory is 100GiB, and the machine has 23GiB", "resources.disk is 900GiB, and the machine has 91GiB",
		}},
		{"less than is kept", func(t *policies.Terms) { t.Override.Memory = 300 * vm.MiB }, "warn", []string{"resources.reserve.memory is all that there is"}},
		{"all is promised twice", func(t *policies.Terms) { t.Overcommit.Memory = 2 }, "ok", nil},
	} {
		terms := policies.DefaultTerms
		one.change(&terms)
		f := judgeTerms(terms, has, 0)
		if f.State != one.state || (f.State != "ok") != (f.Try != "") {
			t.Errorf("%s: %+v", one.what, f)
		}
		for _, word := range one.says {
			if !strings.Contains(f.Why, word) {
				t.Errorf("%s: %q doesn't say %q", one.what, f.Why, word)
			}
		}
	}
}
