package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/cmd/blixard/specfile"
)

// flagsWithoutZero is the flags whose zero would come out as their default, each
// with what a zero may have meant.
var flagsWithoutZero = map[string]string{
	"cpus": "", "memory": "", "start-timeout": "", "reset-after": "",
	"stop-timeout": "in a spec file, stop: {method: kill}, which doesn't ask the guest",
}

// flagsOfZero refuses a zero that somebody wrote: a default must not take its
// place without a word.
func flagsOfZero(cmd *cobra.Command) error {
	for _, name := range slices.Sorted(maps.Keys(flagsWithoutZero)) {
		f := cmd.Flag(name)
		if f.Changed && isZero(f.Value.String()) {
			return invalid(or(flagsWithoutZero[name], "leave it out for the default"), "--%s is %s, more than 0 is needed", name, f.Value)
		}
	}
	return nil
}

// keysOfNumbers is the keys within flags that hold a number, none of which may be zero.
var keysOfNumbers = []string{"size", "mtu", "timeout", "interval", "failures", "successes", "atLeast"}

func keyOfZero(flag, key, value string) error {
	if slices.Contains(keysOfNumbers, key) && isZero(value) {
		return invalid("leave it out", "%s %s is %.60s, more than 0 is needed", flag, key, value)
	}
	return nil
}

// isZero says whether a number, a size or a duration is one.
func isZero(text string) bool {
	if d, bad := specfile.ParseDuration(text); bad == nil {
		return d == 0
	}
	n, bad := specfile.ParseSize(text)
	return bad == nil && n == 0
}
