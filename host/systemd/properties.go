package systemd

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/proof"
)

// order is everything that the properties of a unit depend on.
type order struct {
	command host.Command
	argv    []string // with the numbers of descriptors
	env     []string // with the tags
	shim    string   // absolute path of blixard-vmm
	before  string   // the daemon's unit
	stdin   int      // the socket that holds what the VMM inherits
}

// oomScore lets the kernel choose a VM before the daemon and the node's own services.
const oomScore = 200

// Bounds of a unit.
const (
	startWithin = 20 * time.Second // systemd's own work up to the exec
	stopWithin  = 10 * time.Second // from SIGTERM to SIGKILL, where a person or a shutdown stops the unit
)

// properties are those of the VM's transient unit. They are pure: the same
// order gives the same unit. resolve follows symlinks of a path.
func properties(o order, resolve func(string) string) []sd.Property {
	c := o.command
	out := []sd.Property{
		value("Description", fmt.Sprintf("Blixard VM %s, incarnation %d (%s)", c.Ref.Name, c.Ref.Incarnation, c.Ref.VM)),
		value("Slice", proof.Slice),
		value("Before", []string{o.before}), // so at a shutdown of the node the daemon is stopped first, and stops the guests in order
		value("Type", "exec"),
		value("Restart", "no"),         // we restart
		value("RemainAfterExit", true), // a clean end too waits for a daemon that was down
		value("ExecStart", []start{{Path: o.shim, Argv: shimArgv(o)}}),
		value("StandardInputFileDescriptor", dbus.UnixFD(o.stdin)),
		value("StandardOutput", "journal"), // of the shim alone
		value("StandardError", "journal"),
		value("Environment", o.env),
		value("KillMode", "control-group"),
		value("SendSIGKILL", true),
		value("TimeoutStartUSec", micros(startWithin)),
		value("TimeoutStopUSec", micros(stopWithin)),
		value("OOMScoreAdjust", int32(oomScore)),
		value("CPUAccounting", true),
		value("MemoryAccounting", true),
		value("OOMPolicy", "kill"), // a VMM without one of its processes is none
		value("LimitCORE", host.CoreLimit(c.MaxCore)),
	}
	if c.MaxFile > 0 {
		out = append(out, value("LimitFSIZE", uint64(c.MaxFile)))
	}
	out = append(out, limits(c.Limits)...)
	return append(out, confinement(c, append(pathsOf(c), o.shim), resolve)...)
}

// start is one command of ExecStart. ExecStartEx could leave variables alone,
// but systemd 252 writes a key of that name into the unit's file, which it
// doesn't know itself at its next reload.
type start struct {
	Path    string
	Argv    []string
	Ignores bool // its failure is none
}

func shimArgv(o order) []string {
	c := o.command
	out := []string{"blixard-vmm", "-uid", strconv.Itoa(c.UID), "-gid", strconv.Itoa(c.GID), "-dir", c.Dir}
	if len(c.Groups) > 0 {
		var groups []string
		for _, g := range c.Groups {
			groups = append(groups, strconv.Itoa(g))
		}
		out = append(out, "-groups", strings.Join(groups, ","))
	}
	out = append(append(out, "--"), o.argv...)
	for i, word := range out {
		out[i] = strings.ReplaceAll(word, "$", "$$") // systemd puts variables in
	}
	return out
}

// confinement is what stands around a VMM whose guest broke out. The unit
// begins as root with three capabilities, by which the shim changes to the VM's
// own user and gives them up for good; see docs/decisions/0005.
func confinement(c host.Command, named []string, resolve func(string) string) []sd.Property {
	const capabilities = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETPCAP
	out := []sd.Property{
		value("NoNewPrivileges", true),
		value("CapabilityBoundingSet", uint64(capabilities)),
		value("AmbientCapabilities", uint64(0)),
		value("UMask", uint32(0o077)),
		value("ProtectSystem", "strict"),
		value("ProtectClock", true),
		value("ProtectControlGroups", true),
		value("ProtectHostname", true),
		value("ProtectKernelLogs", true),
		value("ProtectKernelModules", true),
		value("ProtectKernelTunables", true),
		value("ProtectProc", "invisible"),
		value("ProcSubset", "pid"),
		value("PrivateIPC", true),
		value("PrivateMounts", true),
		value("KeyringMode", "private"),
		value("LockPersonality", true),
		value("RestrictNamespaces", uint64(0)), // none may be made
		value("RestrictRealtime", true),
		value("RestrictSUIDSGID", true),
		value("SystemCallArchitectures", []string{"native"}),
		value("SystemCallErrorNumber", int32(unix.EPERM)),
		value("SystemCallFilter", filter{true, []string{"@system-service"}}),
		value("SystemCallFilter", filter{false, []string{"@privileged", "@resources", "@keyring"}}),
		value("SystemCallFilter", filter{true, []string{"@setuid", "seccomp"}}), // the shim's, with no capability left behind it; and QEMU's own filter
		value("MemoryDenyWriteExecute", !c.Needs.JIT),
	}
	return slices.Concat(out, network(c.Needs), devices(c.Needs.Devices), files(c.Needs.Writable, named, resolve))
}

// filter is a list of system calls, allowed or taken from those.
type filter struct {
	Allow bool
	Calls []string
}

// prefix is a range of addresses, as IPAddressDeny has it.
type prefix struct {
	Family  int32
	Address []byte
	Length  uint32
}

// network: sockets and taps are inherited, so a VMM makes sockets of its own,
// and needs a network of the host, only for user-mode NICs; one that we don't
// drive alone, as a runner's, may make unix sockets too.
func network(n host.Needs) []sd.Property {
	families := []string{}
	if n.Sockets {
		families = append(families, "AF_UNIX")
	}
	if n.Network {
		return []sd.Property{value("RestrictAddressFamilies", filter{true, append(families, "AF_INET", "AF_INET6")})}
	}
	return []sd.Property{
		value("PrivateNetwork", true),
		value("RestrictAddressFamilies", filter{true, families}),
		value("IPAddressDeny", []prefix{{unix.AF_INET, make([]byte, 4), 0}, {unix.AF_INET6, make([]byte, 16), 0}}),
	}
}

// rights is one entry of DeviceAllow.
type rights struct{ Path, Access string }

// mount shows a path inside at another, as BindPaths has it.
type mount struct {
	From, To      string
	IgnoreMissing bool
	Flags         uint64
}

// devices: a /dev of its own, with those that it needs put into it.
func devices(paths []string) []sd.Property {
	out := []sd.Property{value("DevicePolicy", "closed"), value("PrivateDevices", true)}
	if len(paths) == 0 {
		return out
	}
	var allow []rights
	var show []mount
	for _, p := range paths {
		allow = append(allow, rights{p, "rw"})
		show = append(show, mount{From: p, To: p, IgnoreMissing: true}) // a VMM says better what it misses
	}
	return append(out, value("DeviceAllow", allow), value("BindPaths", show))
}

// files: everything is read-only but what it writes. Homes are empty but for
// what the command names there, and the temporary folders are its own unless it
// names something there.
func files(writable, named []string, resolve func(string) string) []sd.Property {
	for _, p := range slices.Clone(named) {
		named = append(named, resolve(p))
	}
	tmp := true
	var shown, kept []mount
	for _, p := range named {
		tmp = tmp && !below(p, "/tmp") && !below(p, "/var/tmp")
		one := mount{From: p, To: p, IgnoreMissing: true}
		switch {
		case !below(p, "/home") && !below(p, "/root") && !below(p, "/run/user"), slices.Contains(shown, one), slices.Contains(kept, one):
		case slices.ContainsFunc(writable, func(w string) bool { return w == p || resolve(w) == p }):
			kept = append(kept, one)
		default:
			shown = append(shown, one)
		}
	}
	out := []sd.Property{value("PrivateTmp", tmp), value("ProtectHome", "tmpfs")}
	if len(shown) > 0 {
		out = append(out, value("BindReadOnlyPaths", shown))
	}
	if len(kept) > 0 {
		out = append(out, value("BindPaths", kept))
	}
	var open []string
	for _, p := range writable {
		open = append(open, "-"+p) // it may not be there yet, and then there is nothing to write
	}
	if len(open) > 0 {
		out = append(out, value("ReadWritePaths", open))
	}
	return out
}

func below(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

func micros(d time.Duration) uint64 {
	if d < 0 {
		return math.MaxUint64
	}
	return uint64(d.Microseconds())
}
