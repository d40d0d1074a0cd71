package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountAll mounts what the rest stands on. A mount that fails shows later, in
// what can't be opened then.
func mountAll() {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		_ = unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID, "")
	}
}

func readCmdline() string {
	b, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	return string(b)
}

// hasPCI says whether the machine has a PCI bus: microvm has none.
func hasPCI() bool {
	entries, err := os.ReadDir("/sys/bus/pci/devices")
	return err == nil && len(entries) > 0
}
