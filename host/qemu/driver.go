package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// The accelerators.
const (
	AccelKVM = "kvm"
	AccelTCG = "tcg"
)

// Config is what a Driver has to know of the machine.
type Config struct {
	Binary string // absolute path of qemu-system-x86_64
	Accel  string // AccelKVM or AccelTCG, as Probe decided
	TSCKHz int    // see HostTSCKHz; 0: not known

	// Images finds what a spec's boot.image stands for.
	Images func(name string) (Image, error)

	// Owners says which unprivileged user a VM runs as: the one that its folders
	// belong to.
	Owners host.Owners
	// KVMGroup is the group of /dev/kvm, which a VMM under KVM needs besides its own.
	KVMGroup int
	// LogLimit bounds a console log while no daemon looks; 0 means 64 MiB.
	LogLimit vm.Bytes
	// CoreLimit bounds the core of a VMM whose spec asks for one; 0 means 64 MiB.
	CoreLimit vm.Bytes
}

// Driver is the host.Driver of QEMU.
type Driver struct {
	config  Config
	version versionCheck
}

var _ host.Driver = (*Driver)(nil)

// New makes a driver. It touches nothing: a QEMU that is missing or too old is
// told by Command, so that one node runs without it and its VMs say why.
func New(c Config) *Driver {
	if c.LogLimit == 0 {
		c.LogLimit = 64 * vm.MiB
	}
	if c.CoreLimit == 0 {
		c.CoreLimit = 64 * vm.MiB
	}
	return &Driver{config: c}
}

// Command computes what to launch; see host.Driver. Its failures are
// host.Broken sentences, except for what can pass by itself.
func (d *Driver) Command(ref vm.Ref, spec vm.Spec, f host.Paths) (host.Command, error) {
	if err := d.version.ok(d.config.Binary); err != nil {
		return host.Command{}, err
	}
	l := Launch{Binary: d.config.Binary, Accel: d.config.Accel, TSCKHz: d.config.TSCKHz, Ref: ref, Spec: spec, Paths: f}
	if spec.Boot.Image != "" {
		image, err := d.config.Images(spec.Boot.Image)
		if err != nil {
			return host.Command{}, fmt.Errorf("image %.60q: %w", spec.Boot.Image, err)
		}
		l.Image = image
	}
	if err := l.readFiles(); err != nil {
		return host.Command{}, err
	}
	argv, err := Args(l)
	if err != nil {
		return host.Command{}, err
	}
	c := host.Command{
		Ref: ref, Argv: argv, Dir: f.Run, Stderr: f.Stderr, MaxFile: l.maxFile(d.config.LogLimit),
		Env:     []string{"PATH=/usr/bin:/bin", "LC_ALL=C"},
		Sockets: []host.Socket{{Name: "qmp", Path: f.QMP}, {Name: "console", Path: f.Console}},
	}
	if l.shape() != bare {
		c.Sockets = append(c.Sockets, host.Socket{Name: "agent", Path: f.Agent})
	}
	if f.Load != "" {
		c.Files = []host.File{{Name: savedName, Path: f.Load}}
	}
	c.Taps = l.taps()
	c.Needs = l.needs()
	if spec.Dump.Core {
		l.leaveCore(&c, d.config.CoreLimit)
	}
	c.UID, c.GID = d.config.Owners.Of(ref.Slot)
	if d.config.Accel == AccelKVM {
		c.Groups = []int{d.config.KVMGroup}
	}
	return c, nil
}

// needs is what the command line will open by path; see host.Needs.
func (l *Launch) needs() host.Needs {
	n := host.Needs{JIT: l.Accel != AccelKVM, Writable: []string{l.Paths.Log}}
	if l.Accel == AccelKVM {
		n.Devices = []string{"/dev/kvm"}
	}
	for _, nic := range l.Spec.Networks {
		n.Network = n.Network || nic.Mode == vm.NetworkUser
	}
	disks := l.Spec.Disks
	if l.Spec.Boot.Disk != "" {
		disks = append([]vm.Disk{{Path: l.Spec.Boot.Disk}}, disks...)
	}
	for _, d := range disks {
		path := d.Path
		if path == "" {
			path = l.Paths.Disk(d.Name)
		}
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeDevice != 0 {
			n.Devices = append(n.Devices, path)
		} else if !d.ReadOnly {
			n.Writable = append(n.Writable, path)
		}
	}
	return n
}

// coreReach is how far into its core the kernel may get: most of it are holes, as
// of the stacks of threads, of 8 MiB each. A limit on files counts those.
const coreReach = vm.GiB

// leaveCore lets the kernel put a core into the VMM's working directory, where its
// core_pattern doesn't say otherwise. The limit on files counts for the core too,
// and can't tell it from a log, so it is raised for both.
func (l *Launch) leaveCore(c *host.Command, most vm.Bytes) {
	c.Dir, c.MaxCore = l.Paths.Core, most
	c.Needs.Writable = append(c.Needs.Writable, c.Dir)
	if c.MaxFile > 0 {
		c.MaxFile = max(c.MaxFile, coreReach)
	}
}

// Prepare has nothing to make: QEMU needs folders and links alone.
func (d *Driver) Prepare(context.Context, vm.Ref, vm.Spec, host.Paths) error { return nil }

// Release has nothing to take back.
func (d *Driver) Release(context.Context, vm.Ref, vm.Spec, host.Paths) error { return nil }

// readFiles looks at the files that the command line will name.
func (l *Launch) readFiles() error {
	for _, d := range l.Spec.Disks {
		if d.Path != "" {
			if _, err := readHead("disk "+d.Name, d.Path); err != nil {
				return err
			}
		}
	}
	b := &l.Spec.Boot
	if b.Disk != "" {
		_, err := readHead("boot disk", b.Disk)
		return err
	}
	kernel, initrd := b.Kernel, b.Initrd
	if b.Image != "" {
		kernel, initrd = l.Image.Kernel, l.Image.Initrd
	}
	head, err := readHead("kernel", kernel)
	if err != nil {
		return err
	}
	l.PVHKern = bytes.HasPrefix(head, []byte("\x7fELF"))
	if !l.PVHKern && (len(head) < 0x206 || string(head[0x202:0x206]) != "HdrS") {
		return refuse("kernel %s is neither a bzImage nor an ELF file", kernel)
	}
	if initrd != "" {
		_, err = readHead("initrd", initrd)
	}
	return err
}

// readHead reads the first KiB of a file and says in a sentence why it can't.
func readHead(what, path string) ([]byte, error) {
	if path == "" {
		return nil, refuse("no %s is named", what)
	}
	info, err := os.Stat(path) // before the open: opening a pipe would wait for its writer
	if err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeDevice == 0 {
		return nil, refuse("%s %s is not a file", what, path)
	}
	if err != nil {
		return nil, fileFailure(what, path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileFailure(what, path, err)
	}
	defer file.Close()
	head := make([]byte, vm.KiB)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, host.Fail(host.Transient, "read "+what, err)
	}
	return head[:n], nil
}

func fileFailure(what, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refuse("%s %s does not exist", what, path)
	case errors.Is(err, fs.ErrPermission):
		return host.Fail(host.Denied, "read "+what, err)
	}
	return host.Fail(host.Transient, "read "+what, err)
}

// maxFile is the limit on the size of the VMM's files. The limit can't tell a
// log from a disk, so a large disk raises it for both; a qcow2 file may grow by
// snapshots and so lifts it.
func (l *Launch) maxFile(log vm.Bytes) vm.Bytes {
	limit := log
	if l.Spec.Boot.Disk != "" {
		limit = l.grow(limit, l.Spec.Boot.Disk)
	}
	for _, d := range l.Spec.Disks {
		if limit == 0 {
			return 0
		}
		limit = max(limit, d.Size)
		if d.Path != "" && !d.ReadOnly {
			limit = l.grow(limit, d.Path)
		}
	}
	return limit
}

func (l *Launch) grow(limit vm.Bytes, path string) vm.Bytes {
	if formatOf(path) != "raw" {
		return 0
	}
	if info, err := os.Stat(path); err == nil {
		return max(limit, vm.Bytes(info.Size()))
	}
	return limit
}

// HostTSCKHz is the frequency of this machine's time stamp counter, from the
// bogomips that the kernel calibrated (bogomips × 500), or 0 where that can't be read.
func HostTSCKHz() int {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return 0
	}
	return tscKHz(string(text))
}

func tscKHz(cpuinfo string) int {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "bogomips" {
			continue
		}
		mips, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || mips <= 0 || mips > 1e6 {
			return 0
		}
		return int(mips * 500)
	}
	return 0
}
