package vm

import "strconv"

// Effect is what the actor has to do after a turn is durable. Doing one twice
// is harmless: that is how a crash between the write and the effect heals.
type Effect uint8

// The effects.
const (
	Prepare   Effect = iota + 1 // have a run actor; make folder, disks and image ready, launch the VMM, attach to it, start the probes
	Attach                      // have a run actor that attaches to the VMM that lives already
	Reset                       // have a run actor that resets the machine before it listens to the guest
	Find                        // look whether the VMM of this incarnation lives
	PowerDown                   // ask the guest to power off
	Pause                       // stop the vCPUs
	Resume                      // let the vCPUs run; a saving that is under way is given up
	Save                        // write the guest to the disk; it stands still from then on
	DropSaved                   // remove saved states that the record doesn't name
	Kill                        // kill the VMM and wait until it is proved gone
	Release                     // end the run actor, then remove sockets and links
	Discard                     // prove that nothing of its VMMs is left, then delete folder and disks
	Forget                      // the record is deleted already; end the VM's actor
)

var effectNames = [...]string{
	Prepare: "Prepare", Attach: "Attach", Reset: "Reset", Find: "Find", PowerDown: "PowerDown", Pause: "Pause",
	Resume: "Resume", Save: "Save", DropSaved: "DropSaved", Kill: "Kill", Release: "Release", Discard: "Discard", Forget: "Forget",
}

// String is the effect's name in the code and on the lifecycle page.
func (e Effect) String() string {
	if int(e) < len(effectNames) && effectNames[e] != "" {
		return effectNames[e]
	}
	return "Effect(" + strconv.Itoa(int(e)) + ")"
}
