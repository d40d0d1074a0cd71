package main

import (
	"fmt"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// crashesConfig bounds what the evidence of deaths may hold of the disk; what
// isn't set takes the default.
type crashesConfig struct {
	Node  *bytesOf  `yaml:"node"`  // of all VMs
	VM    *bytesOf  `yaml:"vm"`    // of each VM
	Count *int      `yaml:"count"` // of each VM
	Age   *duration `yaml:"age"`   // older ones go
}

// mostBundles is what a folder holds that is listed in no time.
const mostBundles = 1000

func (c crashesConfig) quota() (vm.BundleQuota, error) {
	q := policies.DefaultBundleQuota
	for _, one := range []struct {
		key string
		set *bytesOf
		to  *vm.Bytes
	}{{"node", c.Node, &q.Node}, {"vm", c.VM, &q.VM}} {
		switch {
		case one.set == nil:
		case vm.Bytes(*one.set) < vm.MiB:
			return q, &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("crashes.%s is %s", one.key, vm.Bytes(*one.set)), Try: "a size from 1MiB on: one bundle without a guest's memory takes about as much",
			}
		default:
			*one.to = vm.Bytes(*one.set)
		}
	}
	if n := c.Count; n != nil {
		if *n < 1 || *n > mostBundles {
			return q, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("crashes.count is %d", *n), Try: fmt.Sprintf("a number from 1 to %d", mostBundles)}
		}
		q.Count = *n
	}
	if age := c.Age; age != nil {
		if time.Duration(*age) < time.Minute {
			return q, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("crashes.age is %s", time.Duration(*age)), Try: "a time from 1m on, such as 720h"}
		}
		q.Age = time.Duration(*age)
	}
	return q, nil
}
