package qemu

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Image is a kernel to enter directly: where its files are, and the words that
// its own init wants on the command line.
type Image struct {
	Kernel, Initrd, Cmdline string
}

// Launch is everything that a command line of QEMU depends on.
type Launch struct {
	Binary  string // absolute path of qemu-system-x86_64
	Accel   string // AccelKVM or AccelTCG
	TSCKHz  int    // frequency of the host's TSC, which a guest under TCG sees; 0: not known
	Ref     vm.Ref
	Spec    vm.Spec
	Paths   host.Paths
	Image   Image // what Boot.Image stands for; empty for the other ways to boot
	PVHKern bool  // the kernel is an ELF that is entered by PVH, so that no option ROM is needed
}

// shape is the kind of machine that a VM gets.
type shape uint8

const (
	// bare is microvm with everything off, for a kernel that asked for nothing:
	// no initrd, command line, disk, network or agent. It starts in the time of
	// QEMU's own exec.
	bare shape = iota + 1
	// direct is microvm with ACPI, for kernels that are entered directly: virtio
	// over MMIO, found by ACPI.
	direct
	// firmware is q35 with SeaBIOS, for a disk that boots itself: virtio over PCI.
	firmware
)

func (l *Launch) shape() shape {
	s := &l.Spec
	if s.Boot.Disk != "" {
		return firmware
	}
	asksNothing := s.Boot.Initrd == "" && s.Boot.Cmdline == "" && len(s.Disks) == 0 && len(s.Networks) == 0 && s.Seed.None()
	for _, c := range s.Health {
		asksNothing = asksNothing && c.Type != vm.CheckAgent
	}
	if s.Boot.Kernel != "" && l.PVHKern && asksNothing && s.CPUs <= 1 {
		return bare
	}
	return direct
}

// Args computes the whole command line of QEMU, Argv[0] included. It is pure:
// the same Launch gives the same words. A spec that can't be written into
// QEMU's option syntax is refused as host.Broken.
func Args(l Launch) ([]string, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	a := []string{l.Binary}
	a = append(a, l.machine()...)
	a = append(a, l.common()...)
	a = append(a, l.kernel()...)
	if l.shape() != bare {
		a = append(a, l.devices()...)
		a = append(a, l.disks()...)
		a = append(a, l.networks()...)
		a = append(a, l.witnesses()...)
	}
	if l.Paths.Load != "" { // the guest stands still until it is known to be loaded
		a = append(a, "-S", "-incoming", "fd:{fd:"+savedName+"}")
	}
	return a, nil
}

func (l *Launch) machine() []string {
	machine, cpu, cache := "", "", 32
	switch l.shape() {
	case bare:
		// A translation cache of 1 MiB instead of QEMU's default of up to 1 GiB:
		// such a guest has a few hundred bytes of code.
		machine, cpu, cache = "microvm,acpi=off,pit=off,pic=off,rtc=off,x-option-roms=off", "qemu64", 1
	case direct:
		// rtc=off with acpi=on costs 1.3 s of boot; without these vendor and arat
		// flags an idle Linux ticks at full rate for ever (5 % of a core).
		machine, cpu = "microvm,acpi=on,rtc=on,x-option-roms="+onOff(!l.PVHKern), "qemu64,vendor=GenuineIntel,+arat"
		if l.Spec.Boot.Image != "" { // our own image needs neither; a person's kernel may calibrate by them
			machine += ",pit=off,pic=off"
		}
	case firmware:
		// A foreign system may be built for newer CPUs than qemu64.
		machine, cpu, cache = "q35,smm=off,vmport=off", "max,vendor=GenuineIntel", 64
	}
	accel := "tcg,tb-size=" + strconv.Itoa(cache)
	if l.Accel == AccelKVM {
		accel, cpu = "kvm", "host"
	}
	machine += ",dump-guest-core=off" // a core is to tell of the VMM, and its guest's secrets are none of that
	return []string{
		"-M", machine, "-accel", accel, "-cpu", cpu,
		"-smp", strconv.Itoa(max(l.Spec.CPUs, 1)), "-m", memory(l.Spec.Memory),
	}
}

// common is what every guest gets: identity, seccomp, the standing end, and the
// sockets that the launcher made.
func (l *Launch) common() []string {
	name := "blixard-" + string(l.Ref.Name)
	return []string{
		"-name", "guest=" + name + ",process=" + name[:min(len(name), 15)] + ",debug-threads=on", // the kernel keeps 15 bytes; its vCPUs are named, so that they can be measured
		"-uuid", uuid(l.Ref.VM),
		"-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		// A guest that ends leaves a standing VMM, so that a daemon that was down
		// learns of it later; a guest that resets boots again without us.
		"-action", "reboot=reset,shutdown=pause,panic=pause,watchdog=pause",
		"-chardev", "socket,id=qmp,fd={fd:qmp},server=on,wait=off",
		"-mon", "chardev=qmp,mode=control",
		"-chardev", "socket,id=console,fd={fd:console},server=on,wait=off,logfile=" + escape(l.Paths.Log) + ",logappend=on",
		"-serial", "chardev:console",
	}
}

func (l *Launch) kernel() []string {
	b := &l.Spec.Boot
	switch {
	case b.Disk != "":
		return nil
	case b.Kernel != "":
		return kernelArgs(Image{Kernel: b.Kernel, Initrd: b.Initrd, Cmdline: l.ownCmdline()})
	}
	image := l.Image
	image.Cmdline = l.cmdline()
	return kernelArgs(image)
}

func kernelArgs(i Image) []string {
	out := []string{"-kernel", i.Kernel}
	if i.Initrd != "" {
		out = append(out, "-initrd", i.Initrd)
	}
	if i.Cmdline != "" {
		out = append(out, "-append", i.Cmdline)
	}
	return out
}

// ownCmdline is a person's command line, with the host's TSC frequency where it
// has none: under TCG a kernel that calibrates by itself may hang in it.
func (l *Launch) ownCmdline() string {
	line := l.Spec.Boot.Cmdline
	if line == "" || l.Accel != AccelTCG || l.TSCKHz == 0 || strings.Contains(line, "tsc_early_khz=") {
		return line
	}
	return line + " tsc_early_khz=" + strconv.Itoa(l.TSCKHz)
}

// cmdline is the command line of an image: its own words, what depends on this
// host, then the spec's words, of which the last counts where two disagree.
func (l *Launch) cmdline() string {
	words := []string{l.Image.Cmdline}
	if l.Accel == AccelTCG && l.TSCKHz > 0 {
		// The guest's own calibration fails on a busy host, and then it ticks at
		// full rate for ever: 5 % of a core for each idle guest.
		words = append(words, "tsc_early_khz="+strconv.Itoa(l.TSCKHz))
	}
	words = append(words, l.Spec.Boot.Cmdline)
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

// devices are those of every guest that may have devices. The panic device
// turns a kernel's panic into an event; the balloon and the source of
// randomness cost nothing where the guest has no driver.
func (l *Launch) devices() []string {
	return []string{
		"-device", "pvpanic",
		"-device", l.virtio("rng"),
		"-device", l.virtio("balloon") + ",id=" + balloonID + ",deflate-on-oom=on",
		"-device", l.virtio("serial"),
		"-chardev", "socket,id=agent,fd={fd:agent},server=on,wait=off",
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
	}
}

// witnesses tell of a guest's end, and cost nothing where the guest has no driver:
// by the first its kernel says where crash finds what in a dump; by the second,
// which is for PCI alone, it is known to hang once it has begun to feed it. They
// come last, so that no other device has another address by them.
func (l *Launch) witnesses() []string {
	out := []string{"-device", "vmcoreinfo"}
	if l.shape() == firmware {
		out = append(out, "-device", "i6300esb")
	}
	return out
}

func (l *Launch) virtio(kind string) string {
	if l.shape() == firmware {
		return "virtio-" + kind + "-pci"
	}
	return "virtio-" + kind + "-device"
}

// blockdev is written as JSON, in which a path needs no escape of QEMU's own.
type blockdev struct {
	Driver   string    `json:"driver"`
	Node     string    `json:"node-name,omitempty"`
	ReadOnly bool      `json:"read-only"`
	Discard  string    `json:"discard"`
	Filename string    `json:"filename,omitempty"`
	File     *blockdev `json:"file,omitempty"`
}

func (l *Launch) disks() []string {
	var out []string
	if boot := l.Spec.Boot.Disk; boot != "" {
		out = append(out, l.disk("boot", boot, formatOf(boot), false, ",bootindex=0")...)
	}
	for i, d := range l.Spec.Disks {
		path, format := d.Path, formatOf(d.Path)
		if path == "" {
			path, format = l.Paths.Disk(d.Name), "raw"
		}
		// Twenty bytes of a serial number are all that virtio-blk has.
		serial := ",serial=" + escape(d.Name[:min(len(d.Name), 20)])
		out = append(out, l.disk(diskNode(i), path, format, d.ReadOnly, serial)...)
	}
	if !l.Spec.Seed.None() { // the last, so that no other disk has another name by it
		out = append(out, l.disk("seed", l.Paths.Seed(), "raw", true, ",serial=seed")...)
	}
	return out
}

// diskNode is what QEMU calls the spec's i-th disk.
func diskNode(i int) string { return "disk" + strconv.Itoa(i) }

// disk is one block device. An I/O error stops the guest instead of reaching
// it, so that its file systems stay whole and supervision hears of it.
func (l *Launch) disk(node, path, format string, readOnly bool, more string) []string {
	file := &blockdev{Driver: "file", ReadOnly: readOnly, Discard: "unmap", Filename: path}
	j, err := json.Marshal(blockdev{Driver: format, Node: node, ReadOnly: readOnly, Discard: "unmap", File: file})
	if err != nil {
		panic(fmt.Sprintf("qemu: marshal a struct of strings: %v", err))
	}
	return []string{
		"-blockdev", string(j),
		"-device", l.virtio("blk") + ",drive=" + node + ",werror=stop,rerror=stop" + more,
	}
}

// formatOf is a disk's format by its name: qcow2 for .qcow2 files, raw for all
// others. It is never guessed from the contents: a guest could write a header
// into a raw disk that names a file of the host as its backing file.
func formatOf(path string) string {
	if strings.EqualFold(filepath.Ext(path), ".qcow2") {
		return "qcow2"
	}
	return "raw"
}

func (l *Launch) networks() []string {
	var out []string
	for i, n := range l.Spec.Networks {
		mac := n.MAC
		if mac == "" {
			mac = macOf(l.Ref.VM, i)
		}
		id := netdev(i)
		device := l.virtio("net") + ",netdev=" + id + ",mac=" + mac
		if n.MTU != 0 {
			device += ",host_mtu=" + strconv.Itoa(n.MTU) // the guest's driver takes it over
		}
		if l.shape() == firmware {
			device += ",romfile=" // no network boot
		}
		back := "user,id=" + id
		if n.Mode == vm.NetworkBridge {
			// The tap comes opened. Frames go through QEMU: vhost would want
			// /dev/vhost-net in the VMM's hands.
			back = "tap,id=" + id + ",fd={fd:" + id + "},vhost=off"
		}
		out = append(out, "-netdev", back, "-device", device)
	}
	return out
}

// taps are the host's ends of the NICs that want one, by the names that Args gives them.
func (l *Launch) taps() []host.Tap {
	var out []host.Tap
	for i, n := range l.Spec.Networks {
		if n.Mode == vm.NetworkBridge {
			out = append(out, host.Tap{Name: netdev(i), Link: host.LinkName(l.Ref.Slot, i)})
		}
	}
	return out
}

func netdev(nic int) string { return "net" + strconv.Itoa(nic) }

// macOf is the address of a VM's NIC that names none: locally administered,
// unicast, the same for as long as the VM exists.
func macOf(id vm.ID, nic int) string {
	sum := sha256.Sum256([]byte(fmt.Sprintf("blixard nic %s %d", id, nic)))
	return net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}.String()
}

// uuid is the SMBIOS identity of a VM: version 8 (our own derivation) of its uid.
func uuid(id vm.ID) string {
	sum := sha256.Sum256([]byte("blixard vm " + string(id)))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// memory is a size in QEMU's words.
func memory(b vm.Bytes) string {
	if b%vm.MiB == 0 {
		return strconv.FormatInt(int64(b/vm.MiB), 10) + "M"
	}
	return strconv.FormatInt(int64((b+vm.KiB-1)/vm.KiB), 10) + "K"
}

// escape doubles commas, which separate QEMU's options.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}
