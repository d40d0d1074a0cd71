package host

import "github.com/blixard/blixard/vm"

// CoreLimit is RLIMIT_CORE of a VMM whose core may hold that much. Without one it
// is a byte and not zero: the kernel heeds zero where it writes a file alone, and
// hands a whole core to the program that a core_pattern names, with what passed
// through the VMM's devices in it. Less than a page makes no file either.
func CoreLimit(most vm.Bytes) uint64 {
	if most <= 0 {
		return 1
	}
	return uint64(most)
}
