package qemu

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxCmdline is the kernel's own bound on x86 (COMMAND_LINE_SIZE, its end byte included).
const maxCmdline = 2048

var diskName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$`)

// refuse is a failure that lasts until somebody changes the spec or the machine.
func refuse(format string, args ...any) error {
	return host.Fail(host.Broken, "prepare the VMM's command line", fmt.Errorf(format, args...))
}

// check refuses what must never reach a command line, whoever let it through before.
func (l *Launch) check() error {
	s := &l.Spec
	if _, err := vm.ParseName(string(l.Ref.Name)); err != nil {
		return refuse("%v", err)
	}
	if s.Memory < vm.MiB {
		return refuse("memory of %d bytes is less than 1 MiB", s.Memory)
	}
	paths := []struct{ what, path string }{
		{"qemu", l.Binary},
		{"console log", l.Paths.Log},
		{"disks folder", l.Paths.Disks},
		{"image kernel", l.Image.Kernel},
		{"image initrd", l.Image.Initrd},
		{"boot.kernel", s.Boot.Kernel},
		{"boot.initrd", s.Boot.Initrd},
		{"boot.disk", s.Boot.Disk},
	}
	for i, d := range s.Disks {
		if !diskName.MatchString(d.Name) {
			return refuse("disks[%d]: %.60q is no disk name: letters, digits, and . _ - after the first", i, d.Name)
		}
		paths = append(paths, struct{ what, path string }{fmt.Sprintf("disks[%d].path", i), d.Path})
	}
	for _, p := range paths {
		if err := checkPath(p.what, p.path); err != nil {
			return err
		}
	}
	return errors.Join(l.checkBoot(), l.checkNetworks())
}

func (l *Launch) checkBoot() error {
	b := &l.Spec.Boot
	ways := 0
	for _, way := range []string{b.Image, b.Kernel, b.Disk} {
		if way != "" {
			ways++
		}
	}
	line := l.cmdline()
	if b.Kernel != "" {
		line = b.Cmdline
	}
	switch {
	case ways != 1:
		return refuse("boot names %d of image, kernel and disk, and needs exactly one", ways)
	case b.Image != "" && l.Image.Kernel == "":
		return refuse("image %.60q has no kernel", b.Image)
	case b.Kernel == "" && b.Initrd != "", b.Disk != "" && b.Cmdline != "":
		return refuse("boot.initrd needs boot.kernel, and boot.cmdline a kernel or an image")
	case len(line) >= maxCmdline:
		return refuse("the kernel's command line has %d bytes, at most %d fit", len(line), maxCmdline-1)
	}
	return checkText("boot.cmdline", line)
}

func (l *Launch) checkNetworks() error {
	if n := len(l.Spec.Networks); n > vm.MaxNetworks {
		return refuse("%d networks are more than %d", n, vm.MaxNetworks)
	}
	for i, n := range l.Spec.Networks {
		switch {
		case n.Mode == vm.NetworkUser && n.MTU != 0:
			return refuse("networks[%d]: mode user has no mtu", i)
		case n.Mode == vm.NetworkBridge && n.MTU != 0 && (n.MTU < vm.MinMTU || n.MTU > vm.MaxMTU):
			return refuse("networks[%d]: mtu %d is not in %d to %d", i, n.MTU, vm.MinMTU, vm.MaxMTU)
		case n.Mode != vm.NetworkUser && n.Mode != vm.NetworkBridge:
			return refuse("networks[%d]: mode %.60q is not known", i, n.Mode)
		}
		if hw, err := net.ParseMAC(n.MAC); n.MAC != "" && (err != nil || len(hw) != 6 || hw[0]&1 != 0 || strings.ContainsAny(n.MAC, "-.")) {
			return refuse("networks[%d]: %.60q is no MAC address such as 02:00:00:00:00:01", i, n.MAC)
		}
	}
	return nil
}

func checkPath(what, path string) error {
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		return refuse("%s: %.200q is not an absolute path", what, path)
	}
	return checkText(what, path)
}

// checkText refuses control characters and what the launcher would take for one
// of its placeholders.
func checkText(what, s string) error {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return refuse("%s: %.200q has a control character", what, s)
	}
	if strings.Contains(s, "{fd:") {
		return refuse("%s: %.200q has {fd: in it, which stands for a descriptor", what, s)
	}
	return nil
}
