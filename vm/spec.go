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
}

// Boot says what the VM starts: exactly one of Image, Kernel or Disk.
type Boot struct {
	Image   string `json:"image,omitempty"`   // "builtin"
	Kernel  string `json:"kernel,omitempty"`  // absolute path of a bzImage, or of an ELF that is entered by PVH
	Initrd  string `json:"initrd,omitempty"`  // absolute path, with Kernel
	Cmdline string `json:"cmdline,omitempty"` // with Kernel: the whole line; with Image: words added to its own
	Disk    string `json:"disk,omitempty"`    // absolute path of a disk that boots itself (q35)
}

// Disk is one block device: Size makes one in the VM's folder, Path names one that exists.
type Disk struct {
	Name     string `json:"name"`
	Size     Bytes  `json:"size,omitempty"`
	Path     string `json:"path,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Network is one NIC. Mode "user" needs no privilege.
type Network struct {
	Mode string `json:"mode"`          // "user"
	MAC  string `json:"mac,omitempty"` // empty: derived from the VM's uid and the NIC's place
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

// Autostart says whether the VM comes back when the node has booted.
type Autostart struct {
	Policy   string `json:"policy"` // inherit | always | healthy | last-state | never
	Priority int    `json:"priority"`
}

// CheckType is the kind of a probe.
type CheckType string

// The check types.
const (
	CheckAgent   CheckType = "guest-agent" // the guest agent answers a ping
	CheckConsole CheckType = "console"     // patterns over the console's stream
	CheckVMM     CheckType = "vmm"         // QMP answers
)

// Check is one probe.
type Check struct {
	Type      CheckType     `json:"type"`
	Interval  time.Duration `json:"interval"`
	Timeout   time.Duration `json:"timeout"`
	Failures  int           `json:"failures"`  // in a row, until it counts
	Successes int           `json:"successes"` // in a row, until it counts again
	Healthy   string        `json:"healthy,omitempty"`
	Unhealthy string        `json:"unhealthy,omitempty"`
}

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
