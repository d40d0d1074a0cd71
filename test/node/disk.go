package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// emptied are the folders by which this machine's own services would start
// inside: its administrator's units, and the scripts of System V.
var emptied = []string{
	"etc/systemd/system", "etc/init.d", "etc/rc0.d", "etc/rc1.d", "etc/rc2.d", "etc/rc3.d", "etc/rc4.d", "etc/rc5.d", "etc/rc6.d", "etc/rcS.d",
	"etc/blixard", "var/lib/blixard", "var/log/journal", "run",
}

// masked are units of the distribution that a machine in here has no use for.
var masked = []string{
	"console-getty.service", "getty.target", "systemd-sysctl.service", "systemd-modules-load.service", "systemd-update-utmp.service",
	"systemd-update-utmp-runlevel.service", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "dev-hugepages.mount",
	"modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service", "modprobe@fuse.service", "modprobe@loop.service",
	"systemd-tmpfiles-clean.timer", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-firstboot.service",
	"systemd-networkd.service", "systemd-resolved.service", "systemd-timesyncd.service",
}

// layOut makes the disk: an overlay's upper folder, on another file system than
// the machine's root, because an overlay can't lie within its own lower folder.
func (m *Machine) layOut() error {
	disk, err := os.MkdirTemp("/dev/shm", m.name+"-")
	if err != nil {
		return fmt.Errorf("%w: its disk needs a tmpfs: %v", ErrNoMachine, err)
	}
	m.Disk = disk
	for _, dir := range []string{"upper", "work", "root"} {
		if err := os.Mkdir(filepath.Join(disk, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(disk, 0o755); err != nil {
		return err
	}
	for _, dir := range emptied {
		path := filepath.Join(disk, "upper", dir)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Setxattr(path, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("%w: /dev/shm can't hold an overlay: %v", ErrNoMachine, err)
		}
	}
	for _, unit := range masked {
		if err := os.Symlink("/dev/null", filepath.Join(disk, "upper/etc/systemd/system", unit)); err != nil {
			return err
		}
	}
	return errors.Join(
		m.write("/etc/machine-id", "", 0o444), // empty: nspawn and systemd draw one at the first boot
		m.write("/etc/hostname", m.name+"\n", 0o644),
		m.write("/etc/fstab", "", 0o644),
		m.write("/etc/systemd/journald.conf", "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nSyncIntervalSec=1s\nRateLimitIntervalSec=0\n", 0o644),
	)
}

// write puts a file on the disk of a machine that is off.
func (m *Machine) write(path, text string, mode fs.FileMode) error {
	name := filepath.Join(m.Disk, "upper", path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		return err
	}
	return os.Chmod(name, mode)
}

// cgroupsOf are the places of the cgroups of a machine of that name: see switchOn.
func cgroupsOf(name string) []string {
	out := []string{filepath.Join("/sys/fs/cgroup/systemd", name), filepath.Join("/sys/fs/cgroup/unified", name), filepath.Join("/sys/fs/cgroup", name)}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && slices.Contains(limitedBy, parts[1]) {
			out = append(out, filepath.Join("/sys/fs/cgroup", parts[1], parts[2], name))
		}
	}
	return out
}

// limitedBy are the controllers of version 1 by which the systemd inside can hold
// limits of its own, within ours.
var limitedBy = []string{"memory", "cpu", "cpuacct", "pids", "blkio"}

// sweepCgroups removes the empty cgroups that a machine of that name left.
func sweepCgroups(name string) error {
	return unheld(func() error {
		var failed error
		for _, top := range cgroupsOf(name) {
			var folders []string
			_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() {
					folders = append(folders, path)
				}
				return nil // what is not there needs no removal
			})
			for _, folder := range slices.Backward(folders) {
				if err := unix.Rmdir(folder); err != nil && !errors.Is(err, unix.ENOENT) {
					failed = errors.Join(failed, fmt.Errorf("removing cgroup %s: %w", folder, err))
				}
			}
		}
		return failed
	})
}
