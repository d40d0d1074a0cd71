package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/blixard/blixard/host/qemu"
	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// libvirtFiles is where `.ci/setup libvirt` unpacks it.
const libvirtFiles = "build/libvirt"

// benchLibvirt boots a machine whose libvirt has autostarted guests, beside a
// machine of ours with as many VMs of the same kernel, in turn.
func benchLibvirt(ctx context.Context, _ *node.Node, s sizes) ([]figure, error) {
	peer, err := newLibvirt(ctx)
	if err != nil {
		return nil, err
	}
	defer peer.close()
	m, err := newBooted(ctx, bootCount, pvhMark, func(s *node.Service, name string) *v1.VMSpec {
		spec := s.PVH(name)
		spec.Autostart = &v1.Autostart{Policy: "always"}
		return spec
	})
	if err != nil {
		return nil, err
	}
	defer m.close()
	if err := m.PowerCut(); err != nil {
		return nil, err
	}
	var ours, theirs sample
	for range s.rounds(4) {
		one, err := peer.boots(ctx)
		if err != nil {
			return nil, err
		}
		theirs.add(one)
		_, whole, err := m.boots(ctx)
		if err != nil {
			return nil, err
		}
		progress("libvirt: ours %v, theirs %v after power-on", whole, one)
		ours.add(whole)
		if err := m.PowerCut(); err != nil {
			return nil, err
		}
	}
	return []figure{beside(fmt.Sprintf("boot with %d PVH guests, power-on to all marks", bootCount), ours, theirs, "libvirt's autostart", 1)}, nil
}

// libvirt is a machine with it.
type libvirt struct {
	*node.Machine
	eye *marks
}

// newLibvirt lays it out, boots it once, defines the guests, and leaves it off.
func newLibvirt(ctx context.Context) (l *libvirt, err error) {
	if _, err := os.Stat(filepath.Join(libvirtFiles, "usr/sbin/libvirtd")); err != nil {
		return nil, errors.New("libvirt is not unpacked: .ci/setup libvirt")
	}
	m, err := node.NewMachine()
	if err != nil {
		return nil, err
	}
	l = &libvirt{Machine: m}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w; libvirt wrote: %s", err, tail(m.Journal(context.WithoutCancel(ctx), "libvirtd"), 1500)), l.close())
		}
	}()
	if err := l.install(ctx); err != nil {
		return l, err
	}
	if l.eye, err = watchMarks(m.Root, pvhMark); err != nil {
		return l, err
	}
	if err := m.Boot(ctx); err != nil {
		return l, err
	}
	for i := range bootCount {
		if err := l.define(ctx, i); err != nil {
			return l, err
		}
	}
	if _, err := l.eye.wait(ctx, bootCount); err != nil {
		return l, err
	}
	return l, m.PowerCut()
}

// install puts libvirt on the disk. It runs QEMU as root and without confinement, which costs it least.
func (l *libvirt) install(ctx context.Context) error {
	upper := filepath.Join(l.Disk, "upper")
	if out, err := exec.CommandContext(ctx, "cp", "-a", libvirtFiles+"/.", upper).CombinedOutput(); err != nil {
		return fmt.Errorf("putting libvirt on the disk: %w: %s", err, out)
	}
	for path, text := range map[string]string{
		filepath.Join(upper, "etc/libvirt/qemu.conf"):     "user = \"root\"\ngroup = \"root\"\nsecurity_driver = \"none\"\nnamespaces = []\nstdio_handler = \"file\"\ncgroup_controllers = []\n",
		filepath.Join(upper, "etc/libvirt/libvirtd.conf"): "unix_sock_group = \"root\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n",
		filepath.Join(l.Root, "pvh.elf"):                  string(qemu.PVHGuest()),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for path, line := range map[string]string{ // its package would add them
		"etc/passwd": "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
		"etc/group":  "libvirt-qemu:x:64055:\n",
	} {
		b, err := os.ReadFile(filepath.Join("/", path))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(upper, path), append(b, line...), 0o644); err != nil {
			return err
		}
	}
	if out, err := exec.CommandContext(ctx, "systemctl", "--root="+upper, "enable", "libvirtd.service").CombinedOutput(); err != nil {
		return fmt.Errorf("enabling libvirt: %w: %s", err, out)
	}
	return nil
}

const libvirtGuest = `<domain type='qemu'>
  <name>%[1]s</name>
  <memory unit='MiB'>8</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>%[2]s/pvh.elf</kernel></os>
  <on_crash>restart</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='file'><source path='%[2]s/console-%[1]s.log'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
`

// define makes one guest, lets it autostart, and starts it.
func (l *libvirt) define(ctx context.Context, i int) error {
	name := fmt.Sprintf("vm-%d", i)
	file := filepath.Join(l.Root, name+".xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, libvirtGuest, name, l.Root), 0o644); err != nil {
		return err
	}
	for _, verb := range [][]string{{"define", file}, {"autostart", name}, {"start", name}} {
		if _, err := l.Run(ctx, append([]string{"virsh", "-q", "-c", "qemu:///system"}, verb...)...); err != nil {
			return err
		}
	}
	return nil
}

// boots switches the machine on, and off again when all marks were seen.
func (l *libvirt) boots(ctx context.Context) (time.Duration, error) {
	logs, err := filepath.Glob(filepath.Join(l.Root, "console-*.log"))
	if err != nil {
		return 0, err
	}
	for _, log := range logs {
		if err := os.Truncate(log, 0); err != nil {
			return 0, err
		}
	}
	l.eye.forget()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	began := time.Now()
	seen := l.eye.later(ctx, bootCount)
	if err := l.Boot(ctx); err != nil {
		return 0, err
	}
	last := <-seen
	if last.err != nil {
		state, _ := l.Run(context.WithoutCancel(ctx), "sh", "-c", "virsh -c qemu:///system list --all; systemctl --failed --no-pager")
		return 0, fmt.Errorf("%w: %s", last.err, strings.TrimSpace(state))
	}
	return last.at.Sub(began), l.PowerCut()
}

// close ends the machine at once, with all that is in it.
func (l *libvirt) close() error {
	if l.eye != nil {
		l.eye.close()
	}
	return l.Close()
}
