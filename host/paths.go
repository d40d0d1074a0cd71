package host

import (
	"fmt"
	"path/filepath"

	"github.com/blixard/blixard/vm"
)

// Paths are the places of one incarnation on disk; see NewPaths.
type Paths struct {
	Folder   string // durable folder of the VM: manifest, disks, logs
	Run      string // run folder of the VM: sockets; on tmpfs
	QMP      string // socket
	Agent    string // socket
	Console  string // socket
	Log      string // console log of this incarnation
	Stderr   string // what the VMM itself wrote
	Manifest string // identity and spec, so that the store can be rebuilt
	Disks    string // folder of the disks that we made
	Core     string // folder for the core of this incarnation's VMM; there where the spec asks for one
	Load     string // the saved guest that the VMM is launched with; empty: it boots

	VMM vm.Process // who listens on the sockets, as far as it is known: it is reached also where their names were deleted
}

// NewPaths computes the places of one incarnation below the state and the run
// folder. A vm.Name has an alphabet that can't leave them.
func NewPaths(state, run string, ref vm.Ref) Paths {
	folder := filepath.Join(state, "vms", string(ref.Name))
	sockets := filepath.Join(run, "vm", string(ref.Name))
	return Paths{
		Folder:   folder,
		Run:      sockets,
		QMP:      filepath.Join(sockets, "qmp.sock"),
		Agent:    filepath.Join(sockets, "agent.sock"),
		Console:  filepath.Join(sockets, "console.sock"),
		Log:      filepath.Join(folder, fmt.Sprintf("console-%d.log", ref.Incarnation)),
		Stderr:   filepath.Join(folder, fmt.Sprintf("vmm-%d.log", ref.Incarnation)),
		Manifest: filepath.Join(folder, "manifest.json"),
		Disks:    filepath.Join(folder, "disks"),
		Core:     filepath.Join(folder, fmt.Sprintf("core-%d", ref.Incarnation)),
	}
}

// LinkName is the tap of a VM's NIC: at most 14 bytes, as the kernel cuts a
// name at 15, and no two VMs of a node have one slot.
func LinkName(slot uint32, nic int) string { return fmt.Sprintf("blx%dn%d", slot, nic) }

// Disk is the place of a disk that was made for the VM, by its name in the spec.
func (p Paths) Disk(name string) string { return filepath.Join(p.Disks, name+".raw") }

// Seed is the disk on which cloud-init finds what it is to do, where the spec has a seed.
func (p Paths) Seed() string { return filepath.Join(p.Folder, "seed.iso") }

// RunnerMark is the alias of a tap that a built runner made for the VM, which
// has the name that the runner gave it, and no incarnation.
func RunnerMark(node string, id vm.ID) string { return "blixard-runner " + node + " " + string(id) }
