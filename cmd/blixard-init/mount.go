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
	b, err := readFile("/proc/cmdline")
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

// readFile reads a small file with plain system calls. What package os does
// around them (poller, finalizers, a second stat) is code that runs once, and
// under TCG code that runs once is what boot time is made of.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 4096)
	n := 0
	for n < len(buf) {
		got, err := unix.Read(fd, buf[n:])
		if err != nil || got <= 0 {
			return buf[:n], err
		}
		n += got
	}
	return buf, nil
}
