package vm

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of a spec. They are far outside of sensible use: they keep mistakes
// of units, and whoever wants to exhaust us, out.
const (
	MaxCPUs     = 255 // more needs x2APIC, which not every guest has
	MinMemory   = 1 * MiB
	MinImage    = 80 * MiB // below, a stock kernel dies of memory, or waits for it, while it boots
	MaxMemory   = 16 << 10 * GiB
	MaxDisks    = 16
	MaxDiskSize = 64 << 10 * GiB
	MaxNetworks = 8
	MaxDepends  = 16
	MaxDelays   = 64
	MaxCmdline  = 2047 // bytes; the x86 kernel cuts the line there without a word
	MaxPath     = 1023 // bytes
	MaxQuota    = MaxCPUs * 100
	MaxPriority = 1000
	MaxLink     = 15 // bytes of an interface's name in Linux
	MinMTU      = 576
	MaxMTU      = 65521

	minWait = 10 * time.Millisecond
	maxWait = 24 * time.Hour
	maxSpan = 30 * 24 * time.Hour
)

// Check returns a *Refusal for the first value that is out of bounds, naming
// field, value, bounds and remedy. It looks at the filled spec alone: whether
// a path exists is seen when the VM is prepared.
func (s Spec) Check() error {
	if _, err := ParseName(string(s.Name)); err != nil {
		return err
	}
	return first(
		between("cpus", s.CPUs, 1, MaxCPUs),
		s.checkMemory(),
		s.Boot.check(),
		s.checkDisks(),
		s.checkNetworks(),
		s.Restart.check(),
		s.checkAutostart(),
		s.checkHealth(),
		between("start.timeout", s.Start.Timeout, minWait, maxWait),
		s.checkStartPeriods(),
		oneOf("stop.method", s.Stop.Method, "auto", "agent", "acpi", "kill"),
		between("stop.timeout", s.Stop.Timeout, minWait, maxWait),
		between("resources.cpuWeight", s.Resources.CPUWeight, 1, 10000),
		between("resources.cpuQuota", s.Resources.CPUQuota, 0, MaxQuota),
		between("resources.ioWeight", s.Resources.IOWeight, 1, 10000),
		s.checkReclaim(),
		s.checkRemedies(),
		s.checkDump(),
		s.checkSeed(),
	)
}

func (s Spec) checkMemory() *Refusal {
	low := MinMemory
	if s.Boot.Image != "" {
		low = MinImage
	}
	switch {
	case s.Memory < low || s.Memory > MaxMemory:
		return invalid(fmt.Sprintf("set memory to a size from %s to %s, such as 128MiB", low, MaxMemory), "memory is %s, allowed are %s to %s", s.Memory, low, MaxMemory)
	case s.Memory%MiB != 0:
		return invalid("round it, such as to "+(s.Memory/MiB*MiB).String(), "memory is %s, only whole MiB are allowed", s.Memory)
	}
	return nil
}

func (b Boot) check() *Refusal {
	kinds := 0
	for _, k := range []string{b.Image, b.Kernel, b.Disk, b.Runner, b.Flake} {
		if k != "" {
			kinds++
		}
	}
	switch {
	case b.Initrd != "" && b.Kernel == "":
		return invalid("name the kernel too, or leave initrd out", "boot.initrd goes with boot.kernel only")
	case kinds == 0:
		return invalid("boot.image: builtin", "boot names no image, kernel, disk, runner or flake")
	case kinds > 1:
		return invalid("keep one of them", "boot names %d of image, kernel, disk, runner and flake, exactly one is allowed", kinds)
	case b.Image != "" && b.Image != Image:
		return invalid("image: builtin, or disk: with the path of a disk image that boots itself", "boot.image is %q, the only image is \"builtin\"", cut(b.Image))
	case b.Cmdline != "" && b.Image == "" && b.Kernel == "":
		return invalid("set it where the guest is built", "boot.cmdline goes with a kernel or the built-in image, a disk or a runner boots itself")
	case len(b.Flake) > MaxPath || strings.HasPrefix(b.Flake, "-"):
		return invalid("flake: /path/to/flake#name", "boot.flake is %q, allowed is a flake reference of at most %d bytes", cut(b.Flake), MaxPath)
	case len(b.Cmdline) > MaxCmdline:
		return invalid("shorten it", "boot.cmdline has %d bytes, at most %d are allowed", len(b.Cmdline), MaxCmdline)
	}
	return firstRefusal(plain("boot.cmdline", b.Cmdline), path("boot.kernel", b.Kernel), path("boot.initrd", b.Initrd),
		path("boot.disk", b.Disk), path("boot.runner", b.Runner), plain("boot.flake", b.Flake))
}

func (s Spec) checkDisks() *Refusal {
	if r := between("the number of disks", len(s.Disks), 0, MaxDisks); r != nil {
		return r
	}
	names := make(map[string]bool, len(s.Disks))
	for i, d := range s.Disks {
		f := fmt.Sprintf("disks[%d]", i)
		switch {
		case len(d.Name) > MaxName || !namePattern.MatchString(d.Name):
			return invalid("choose a name such as data", "%s.name is %q, allowed are up to %d of a-z, 0-9 and inner dashes", f, cut(d.Name), MaxName)
		case names[d.Name]:
			return invalid("give each disk a name of its own", "%s.name %q is taken by another disk", f, d.Name)
		case (d.Size != 0) == (d.Path != ""):
			return invalid("size: 1GiB for a new disk, path: /dir/file for one that exists", "%s needs either size or path", f)
		case d.Path == "" && (d.Size < MiB || d.Size > MaxDiskSize):
			return invalid(fmt.Sprintf("set it to a size from %s to %s, such as 1GiB", MiB, MaxDiskSize), "%s.size is %s, allowed are %s to %s", f, d.Size, MiB, MaxDiskSize)
		case d.Size%512 != 0:
			return invalid("round it to whole MiB, such as 1GiB", "%s.size is %s, only whole sectors of 512 bytes are allowed", f, d.Size)
		}
		if r := path(f+".path", d.Path); r != nil {
			return r
		}
		names[d.Name] = true
	}
	return nil
}

func (s Spec) checkNetworks() *Refusal {
	if r := between("the number of networks", len(s.Networks), 0, MaxNetworks); r != nil {
		return r
	}
	macs := make(map[string]bool, len(s.Networks))
	for i, n := range s.Networks {
		f := fmt.Sprintf("networks[%d]", i)
		if r := n.check(f); r != nil {
			return r
		}
		if n.MAC == "" {
			continue
		}
		mac, err := net.ParseMAC(n.MAC)
		low := strings.ToLower(n.MAC)
		switch {
		case err != nil || len(mac) != 6 || mac.String() != low || mac[0]&1 != 0 || low == "00:00:00:00:00:00":
			return invalid("leave it out: one is derived from the VM's uid", "%s.mac is %q, allowed is a unicast address such as 52:54:00:12:34:56", f, cut(n.MAC))
		case macs[low]:
			return invalid("leave it out: one is derived from the VM's uid", "%s.mac %s is taken by another network", f, low)
		}
		macs[low] = true
	}
	return nil
}

var linkPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// IsLinkName says whether a link may have that name here: at most MaxLink bytes,
// and nothing that means something else in a path below /sys or to the kernel.
func IsLinkName(name string) bool { return len(name) <= MaxLink && linkPattern.MatchString(name) }

func (n Network) check(f string) *Refusal {
	switch {
	case n.Mode == NetworkUser && (n.Bridge != "" || n.MTU != 0):
		return invalid("leave mode out", "%s has a bridge or an mtu, which mode user doesn't know", f)
	case n.Mode == NetworkBridge && !IsLinkName(n.Bridge):
		return invalid("bridge: br0", "%s.bridge is %q, allowed is the name of a bridge, at most %d of letters, digits, _, . and -", f, cut(n.Bridge), MaxLink)
	case n.MTU != 0 && (n.MTU < MinMTU || n.MTU > MaxMTU):
		return invalid("leave it out: the bridge's is taken", "%s.mtu is %d, allowed are %d to %d", f, n.MTU, MinMTU, MaxMTU)
	}
	return oneOf(f+".mode", n.Mode, NetworkUser, NetworkBridge)
}

func (s Spec) checkAutostart() *Refusal {
	a := s.Autostart
	if r := firstRefusal(
		oneOf("autostart.policy", a.Policy, AutostartInherit, AutostartAlways, AutostartHealthy, AutostartLastState, AutostartNever),
		between("autostart.priority", a.Priority, -MaxPriority, MaxPriority),
		between("the number of autostart.dependsOn", len(a.DependsOn), 0, MaxDepends),
	); r != nil {
		return r
	}
	for i, d := range a.DependsOn {
		f := fmt.Sprintf("autostart.dependsOn[%d]", i)
		if _, err := ParseName(string(d.VM)); err != nil {
			return invalid("vm: db", "%s.vm is %q, which is no name of a VM", f, cut(string(d.VM)))
		}
		switch {
		case d.VM == s.Name:
			return invalid("leave it out", "%s: %s can't wait for itself", f, s.Name)
		case slices.ContainsFunc(a.DependsOn[:i], func(o Dependency) bool { return o.VM == d.VM }):
			return invalid("keep one of them", "%s names %s a second time", f, d.VM)
		}
		if r := firstRefusal(oneOf(f+".is", d.Is, IsRunning, IsHealthy), between(f+".timeout", d.Timeout, minWait, maxWait)); r != nil {
			return r
		}
	}
	return nil
}

func (r Restart) check() *Refusal {
	for i, d := range r.Delays {
		if bad := between(fmt.Sprintf("restart.delays[%d]", i), d, 0, maxWait); bad != nil {
			return bad
		}
	}
	return firstRefusal(
		oneOf("restart.policy", r.Policy, RestartAlways, RestartOnFailure, RestartNever),
		between("restart.delay.initial", r.Delay.Initial, time.Millisecond, maxWait),
		between("restart.delay.factor", r.Delay.Factor, 1, 10),
		between("restart.delay.max", r.Delay.Max, r.Delay.Initial, maxWait),
		between("restart.delay.jitter", r.Delay.Jitter, 0, 1),
		between("the number of restart.delays", len(r.Delays), 0, MaxDelays),
		between("restart.budget.attempts", r.Budget.Attempts, 1, MaxLedger-1),
		between("restart.budget.window", r.Budget.Window, minWait, maxSpan),
		between("restart.resetAfter", r.ResetAfter, minWait, maxSpan),
	)
}

// path refuses what would mean something else to the VMM's option parser or to
// the launcher than to a person: QEMU splits at commas, the launcher replaces {fd:NAME}.
func path(field, s string) *Refusal {
	switch {
	case s == "":
		return nil
	case len(s) > MaxPath:
		return invalid("move the file to a shorter path", "%s has %d bytes, at most %d are allowed", field, len(s), MaxPath)
	case !filepath.IsAbs(s):
		return invalid("write the path from / on", "%s is %q, only absolute paths are allowed", field, cut(s))
	case filepath.Clean(s) != s:
		return invalid(quoted(filepath.Clean(s)), "%s is %q, which has a detour (.., . or //)", field, cut(s))
	case strings.ContainsRune(s, ','):
		return invalid("rename the file", "%s is %q, commas are not allowed", field, cut(s))
	}
	return plain(field, s)
}

func plain(field, s string) *Refusal {
	control := func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029 }
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, control):
		return invalid("write it as plain text in one line", "%s is %q, control characters and broken UTF-8 are not allowed", field, cut(s))
	case strings.Contains(s, "{fd:"):
		return invalid("leave it out", "%s is %q, {fd: is not allowed: it stands for a descriptor of ours", field, cut(s))
	}
	return nil
}

// between is written so that a NaN is refused.
func between[T ~int | ~int64 | ~float64](field string, v, low, high T) *Refusal {
	if v >= low && v <= high {
		return nil
	}
	from, to := shown(low), shown(high)
	return invalid(fmt.Sprintf("set %s to a value from %s to %s", field, from, to), "%s is %s, allowed are %s to %s", field, shown(v), from, to)
}

// shown is a value as a spec writes it.
func shown(v any) string {
	if d, ok := v.(time.Duration); ok {
		return Span(d)
	}
	return fmt.Sprint(v)
}

func oneOf[T ~string](field string, v T, allowed ...T) *Refusal {
	if slices.Contains(allowed, v) {
		return nil
	}
	names := strings.Trim(fmt.Sprint(allowed), "[]")
	return invalid(fmt.Sprintf("%s: %s", field, allowed[0]), "%s is %q, allowed are: %s", field, cut(string(v)), names)
}

func invalid(try, why string, args ...any) *Refusal {
	return &Refusal{Code: Invalid, Why: fmt.Sprintf(why, args...), Try: try}
}

func firstRefusal(all ...*Refusal) *Refusal {
	for _, r := range all {
		if r != nil {
			return r
		}
	}
	return nil
}

// first keeps a nil *Refusal from becoming an error that isn't nil.
func first(all ...*Refusal) error {
	if r := firstRefusal(all...); r != nil {
		return r
	}
	return nil
}

// cut keeps a refusal at one readable line.
func cut(s string) string { return Cut(s, 60+len(cutMark)) }

func quoted(s string) string { return fmt.Sprintf("%q", cut(s)) }
