package vm

import "time"

// Bytes is a size in bytes.
type Bytes int64

// Sizes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

// Spec is what a person wants of one VM, with every default filled in: see
// Spec.Filled and Spec.Check.
type Spec struct {
	Name      Name      `json:"name"`
	CPUs      int       `json:"cpus"`
	Memory    Bytes     `json:"memory"`
	Boot      Boot      `json:"boot"`
	Disks     []Disk    `json:"disks,omitempty"`
	Networks  []Network `json:"networks,omitempty"`
	Restart   Restart   `json:"restart"`
	Autostart Autostart `json:"autostart"`
	Health    []Check   `json:"health,omitempty"`
	Start     Start     `json:"start"`
	Stop      Stop      `json:"stop"`
	Resources Resources `json:"resources"`
	Reclaim   Reclaim   `json:"reclaim,omitzero"`
	Remedies  []Rung    `json:"remedies,omitempty"` // what is tried of a guest that is sick, in this order; empty: kill and start
	Dump      Dump      `json:"dump,omitzero"`
	Seed      Seed      `json:"seed,omitzero"` // zero: cloud-init finds none
}

// Boot says what the VM starts: exactly one of Image, Kernel, Disk, Runner or Flake.
type Boot struct {
	Image   string `json:"image,omitempty"`   // "builtin"
	Kernel  string `json:"kernel,omitempty"`  // absolute path of a bzImage, or of an ELF that is entered by PVH
	Initrd  string `json:"initrd,omitempty"`  // absolute path, with Kernel
	Cmdline string `json:"cmdline,omitempty"` // with Kernel: the whole line; with Image: words added to its own
	Disk    string `json:"disk,omitempty"`    // absolute path of a disk that boots itself (q35)
	Runner  string `json:"runner,omitempty"`  // absolute path of a built microvm.nix runner: bin/microvm-run, …
	Flake   string `json:"flake,omitempty"`   // flake reference of such a runner, built into the VM's folder before a start
}

// Built says whether somebody else's runner is launched, and not our own VMM.
func (b Boot) Built() bool { return b.Runner != "" || b.Flake != "" }

// Disk is one block device: Size makes one in the VM's folder, Path names one that exists.
type Disk struct {
	Name     string `json:"name"`
	Size     Bytes  `json:"size,omitempty"`
	Path     string `json:"path,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// NetworkMode is how a NIC reaches the world.
type NetworkMode string

// The modes.
const (
	NetworkUser   NetworkMode = "user"   // through the VMM, without any privilege: outwards only
	NetworkBridge NetworkMode = "bridge" // by a tap in a bridge of the host
)

// Network is one NIC.
type Network struct {
	Mode   NetworkMode `json:"mode"`
	Bridge string      `json:"bridge,omitempty"` // with NetworkBridge: the bridge's name
	MTU    int         `json:"mtu,omitempty"`    // 0: the bridge's
	MAC    string      `json:"mac,omitempty"`    // empty: derived from the VM's uid and the NIC's place
}

// RestartPolicy says which ends of an incarnation are followed by another one.
type RestartPolicy string

// The restart policies.
const (
	RestartAlways    RestartPolicy = "always"
	RestartOnFailure RestartPolicy = "on-failure"
	RestartNever     RestartPolicy = "never"
)

// Restart is the supervision of one VM.
type Restart struct {
	Policy     RestartPolicy   `json:"policy"`
	Delay      Delay           `json:"delay"`
	Delays     []time.Duration `json:"delays,omitempty"` // a list instead of the curve; its last value repeats
	Budget     Budget          `json:"budget"`
	ResetAfter time.Duration   `json:"resetAfter"` // healthy this long: delay and budget start anew
}

// Delay is the curve Initial × Factor^n, never over Max, spread by ± Jitter.
type Delay struct {
	Initial time.Duration `json:"initial"`
	Factor  float64       `json:"factor"`
	Max     time.Duration `json:"max"`
	Jitter  float64       `json:"jitter"` // 0.1 = 10 %; the jitter stays inside Max
}

// Budget allows Attempts charged failures within Window; the next one gives up.
type Budget struct {
	Attempts int           `json:"attempts"`
	Window   time.Duration `json:"window"`
}

// AutostartPolicy says whether a VM comes back when the node has booted.
type AutostartPolicy string

// The policies. None brings back what a person asked down (P5).
const (
	AutostartInherit   AutostartPolicy = "inherit"    // the node's: restart-all is last-state, restart-healthy is healthy, manual is never
	AutostartAlways    AutostartPolicy = "always"     // also where the guest powered itself off, or it was never started
	AutostartHealthy   AutostartPolicy = "healthy"    // where it was wanted up and well
	AutostartLastState AutostartPolicy = "last-state" // where it was wanted up
	AutostartNever     AutostartPolicy = "never"      // only by a person
)

// Autostart says whether, when and after whom the VM comes back when the node has booted.
type Autostart struct {
	Policy    AutostartPolicy `json:"policy"`
	Priority  int             `json:"priority"` // the highest first
	DependsOn []Dependency    `json:"dependsOn,omitempty"`
}

// Dependency is another VM that has to be up first.
type Dependency struct {
	VM      Name          `json:"vm"`
	Is      string        `json:"is"`      // running | healthy
	Timeout time.Duration `json:"timeout"` // then it is not waited for any longer
}

// What a dependency can wait for.
const (
	IsRunning = "running"
	IsHealthy = "healthy"
)

// Start bounds a start.
type Start struct {
	Timeout time.Duration `json:"timeout"` // from launch to ready
}

// Stop says how a VM is asked to end.
type Stop struct {
	Method  string        `json:"method"`  // auto: agent, then ACPI, then kill | agent | acpi | kill
	Timeout time.Duration `json:"timeout"` // then it is killed
}

// Resources are shares and limits of the host.
type Resources struct {
	CPUWeight int `json:"cpuWeight"` // 1..10000
	CPUQuota  int `json:"cpuQuota"`  // percent of one CPU; 0: no limit
	IOWeight  int `json:"ioWeight"`  // 1..10000
}
