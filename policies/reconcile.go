package policies

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/blixard/blixard/vm"
)

// Inventory is what one look at the machine found of ours.
type Inventory struct {
	VMMs    []vm.FoundVMM
	Links   []vm.FoundLink
	Folders []vm.FoundFolder

	// Blind says why VMMs could not be looked at; empty: they were. One may be
	// behind anything then, so what its life would forbid is not done (P1, P6).
	Blind string
}

// Records is what the node knows, for a comparison.
type Records struct {
	All    []vm.Record
	Broken map[vm.ID]bool   // records that can't be read: what is theirs is left alone (P13)
	Names  map[vm.Name]bool // of broken records, where they are known
	Safe   bool             // safe mode: nothing is done, all is told
}

// Mend is what is done about a discrepancy.
type Mend string

// What can be done.
const (
	MendAdopt      Mend = "adopt"       // take a VM in whose VMM and manifest are there, and whose record isn't
	MendKill       Mend = "kill"        // end a VMM that is ours and not wanted
	MendLook       Mend = "look"        // let the VM's actor look again for a VMM that it believes alive
	MendRemoveLink Mend = "remove-link" // a tap that nothing uses
	MendRemoveRun  Mend = "remove-run"  // a run folder that nothing uses
	MendDropSaved  Mend = "drop-saved"  // a saved guest that no record names
	MendForgetGood Mend = "forget-good" // a known-good state that its record names, and that is lost
	MendQuarantine Mend = "quarantine"  // move a folder of a VM that nobody knows aside; it can be moved back
	MendNothing    Mend = "report"      // only a person can know what is right
)

// Gate is what has to come before a discrepancy is mended.
type Gate string

// The gates.
const (
	GateTwice  Gate = "twice"  // seen at two looks in a row: a start or a stop may be under way at one
	GateAged   Gate = "aged"   // seen for as long as orphans wait
	GatePerson Gate = "person" // `node plan --apply`
	GateNever  Gate = "never"  // nothing is done
)

// Discrepancy is one difference between the machine and the records.
type Discrepancy struct {
	Key  string // stays the same as long as the difference does
	Mend Mend
	Gate Gate
	What string // "process 4711 of web-1/3"
	Why  string // a sentence
	VM   vm.Name

	VMM    *vm.FoundVMM
	Link   *vm.FoundLink
	Folder *vm.FoundFolder
	Record *vm.Record
}

// Compare finds every difference, in the order of their keys.
func Compare(found Inventory, known Records) []Discrepancy {
	c := comparison{folders: found.Folders, blind: found.Blind != "", live: map[vm.Name]bool{}, known: known, byID: map[vm.ID]*vm.Record{}, byName: map[vm.Name]*vm.Record{}, alive: map[vm.ID]bool{}}
	for i := range known.All {
		r := &known.All[i]
		c.byID[r.ID], c.byName[r.Spec.Name] = r, r
	}
	if c.blind {
		c.tell(Discrepancy{
			Key: "blind/vmms", Mend: MendNothing, Gate: GateNever, What: "processes of all VMs",
			Why: "they could not be looked at, and whatever one might be using is left alone: " + found.Blind,
		})
	}
	for i := range found.VMMs {
		c.vmm(&found.VMMs[i])
		c.alive[found.VMMs[i].Ref.VM], c.live[found.VMMs[i].Ref.Name] = true, true
	}
	for i := range found.Links {
		c.link(&found.Links[i])
	}
	folders := map[vm.Name]*vm.FoundFolder{}
	for i := range found.Folders {
		c.folder(&found.Folders[i])
		folders[found.Folders[i].Name] = &found.Folders[i]
	}
	for i := range known.All {
		c.record(&known.All[i], folders[known.All[i].Spec.Name])
	}
	slices.SortFunc(c.out, func(a, b Discrepancy) int { return cmp.Compare(a.Key, b.Key) })
	if known.Safe {
		for i := range c.out {
			c.out[i].Mend, c.out[i].Gate = MendNothing, GateNever
		}
	}
	return c.out
}

type comparison struct {
	known  Records
	byID   map[vm.ID]*vm.Record
	byName map[vm.Name]*vm.Record
	alive  map[vm.ID]bool
	live   map[vm.Name]bool // that a VMM of ours carries
	out    []Discrepancy

	folders []vm.FoundFolder
	blind   bool // who lives is not known
}

// manifest is the folder that says that it is this VMM's; nil: none does.
func (c *comparison) manifest(f *vm.FoundVMM) *vm.FoundFolder {
	for i := range c.folders {
		if one := &c.folders[i]; one.ID == f.Ref.VM && one.Name == f.Ref.Name && one.Spec != nil {
			return one
		}
	}
	return nil
}

func (c *comparison) tell(d Discrepancy) { c.out = append(c.out, d) }

func (c *comparison) vmm(f *vm.FoundVMM) {
	r := c.byID[f.Ref.VM]
	d := Discrepancy{
		Key: fmt.Sprintf("vmm/%s/%d", f.Ref.VM, f.Ref.Incarnation), Mend: MendKill, Gate: GateTwice, VM: f.Ref.Name, VMM: f, Record: r,
		What: fmt.Sprintf("process %d of %s/%d", f.Process.PID, f.Ref.Name, f.Ref.Incarnation),
	}
	switch {
	case c.known.Broken[f.Ref.VM]:
		d.Mend, d.Gate, d.Why = MendNothing, GateNever, "the record of its VM can't be read; the guest lives on"
	case r == nil && c.manifest(f) != nil && c.byName[f.Ref.Name] == nil:
		d.Mend, d.Folder = MendAdopt, c.manifest(f)
		d.Why = "it lives, its folder says whose it is, and only its record is missing: the store is older than the VM"
	case r == nil:
		d.Gate, d.Why = GatePerson, "no VM with its uid is known; ending a guest can't be undone"
	case f.Ref.Incarnation > r.State.Incarnation:
		d.Gate, d.Why = GatePerson, fmt.Sprintf("the record knows only incarnation %d: the store may be older than the machine", r.State.Incarnation)
	case f.Ref.Incarnation < r.State.Incarnation:
		d.Why = fmt.Sprintf("incarnation %d has followed it", r.State.Incarnation) // P1
	case r.State.Phase&(idle|vm.Removing) != 0:
		d.Why = fmt.Sprintf("its VM is %s", r.State.Phase) // P7
	default:
		return
	}
	c.tell(d)
}

func (c *comparison) link(l *vm.FoundLink) {
	r := c.byID[l.VM]
	d := Discrepancy{Key: "link/" + l.Name, Mend: MendRemoveLink, Gate: GateTwice, What: "link " + l.Name, Link: l, Record: r}
	if r != nil {
		d.VM = r.Spec.Name
	}
	switch {
	case c.known.Broken[l.VM] || c.blind:
		return // its VM may run and need it
	case r == nil && c.alive[l.VM]:
		d.Gate, d.Why = GatePerson, fmt.Sprintf("no VM with the uid in its alias (%s) is known, but its process lives and uses it", l.VM)
	case r == nil:
		d.Gate, d.Why = GateAged, fmt.Sprintf("no VM with the uid in its alias (%s) is known", l.VM)
	case r.State.Phase&(idle|vm.Removing) != 0:
		d.Why = fmt.Sprintf("its VM is %s", r.State.Phase)
	default:
		return
	}
	c.tell(d)
}

func (c *comparison) folder(f *vm.FoundFolder) {
	r := c.byID[f.ID]
	named := c.byName[f.Name]
	d := Discrepancy{VM: f.Name, Folder: f, Record: r}
	switch {
	case c.known.Broken[f.ID] || c.known.Names[f.Name]:
		return
	case f.Folder && f.ID == "" && named != nil && named.State.Incarnation == 0:
		// A VM that was never prepared: somebody else's folder is in its way.
		d.Key, d.Mend, d.Gate, d.What = "folder/"+string(f.Name), MendNothing, GateNever, f.Path
		d.Why = "it has no manifest that says whose it is, and is where a VM's folder would be: " + f.Why
		c.tell(d)
	case f.Folder && f.ID == "":
		d.Key, d.Mend, d.Gate, d.What = "folder/"+string(f.Name), MendNothing, GateNever, f.Path
		d.Why = "it can't be proved ours, and is left alone: " + f.Why
		c.tell(d)
	case f.Folder && r == nil:
		d.Key, d.Mend, d.Gate, d.What = "folder/"+string(f.ID), MendQuarantine, GateAged, f.Path
		d.Why = "its manifest names a VM that nobody knows; moved aside it can be restored"
		switch {
		case c.blind:
			d.Mend, d.Gate, d.Why = MendNothing, GateNever, "its manifest names a VM that nobody knows, and whose process may live"
		case c.alive[f.ID]:
			d.Gate, d.Why = GatePerson, "its manifest names a VM that nobody knows, but whose process lives and uses it"
		}
		c.tell(d)
	case f.Folder && r.Spec.Name != f.Name:
		d.Key, d.Mend, d.Gate, d.What, d.Record = "folder/"+string(f.Name), MendNothing, GateNever, f.Path, nil
		d.Why = fmt.Sprintf("its manifest has the uid of VM %s, and is left alone: one of the two was changed", r.Spec.Name)
		c.tell(d)
	case f.Folder && f.Bytes > r.Holds().Disk+logAllowance:
		d.Key, d.Mend, d.Gate, d.What = "growth/"+string(f.ID), MendNothing, GateNever, f.Path
		d.Why = fmt.Sprintf("it holds %s, reserved are %s", f.Bytes, r.Holds().Disk)
		c.tell(d)
	}
	if f.Run && !c.live[f.Name] && !c.blind && (named == nil || named.State.Phase&idle != 0) {
		d.Key, d.Mend, d.Gate, d.What = "run/"+string(f.Name), MendRemoveRun, GateTwice, "run folder of "+string(f.Name)
		d.Why, d.Record = "no VM of that name is known", named
		if named == nil && f.Tenant == 0 {
			d.Mend, d.Gate, d.Why = MendNothing, GateNever, "it can't be proved ours, and is left alone: it says no incarnation"
		}
		if named != nil {
			d.Why = fmt.Sprintf("its VM is %s", named.State.Phase)
		}
		c.tell(d)
	}
}

// logAllowance is what a VM's folder may hold beside its disks: console logs of
// the kept incarnations, each bounded, and the manifest.
const logAllowance = 128 * vm.MiB

// record looks for what a VM should have and hasn't.
func (c *comparison) record(r *vm.Record, folder *vm.FoundFolder) {
	s := r.State
	if s.Phase&(vm.Running|vm.Paused) != 0 && !c.alive[r.ID] && !c.blind {
		c.tell(Discrepancy{
			Key: fmt.Sprintf("gone/%s/%d", r.ID, s.Incarnation), Mend: MendLook, Gate: GateTwice, VM: r.Spec.Name, Record: r,
			What: fmt.Sprintf("%s/%d", r.Spec.Name, s.Incarnation), Why: "no process of it lives, and nobody has told of its end",
		})
	}
	lives := s.Phase&(vm.Live|vm.Adopting) != 0
	if (lives || ownDisks(*r) && s.Incarnation > 0 && s.Phase != vm.Removing && s.Phase != vm.Preparing) && (folder == nil || !folder.Folder) {
		c.tell(Discrepancy{
			Key: "missing/" + string(r.ID), Mend: MendNothing, Gate: GateNever, VM: r.Spec.Name, Record: r,
			What: "folder of " + string(r.Spec.Name), Why: "it is gone, with all that was in it; restore it from a backup before the VM starts again",
		})
	}
	if folder != nil && folder.ID == r.ID {
		c.saved(r, folder.Saved, false)
		c.saved(r, folder.Good, true)
		c.lostGood(r, folder)
	}
}

// lostGood finds a known-good state that a remedy would count on in vain. Of a
// guest that is not up nothing is restored, and of one that comes up the look at
// the file comes with its next end.
func (c *comparison) lostGood(r *vm.Record, folder *vm.FoundFolder) {
	s := r.State
	if s.Good == nil || s.Phase&(vm.Running|vm.Paused) == 0 || !folder.Folder || slices.Contains(folder.Good, s.Good.Incarnation) {
		return
	}
	c.tell(Discrepancy{
		Key: fmt.Sprintf("lost/%s/%d", r.ID, s.Good.Incarnation), Mend: MendForgetGood, Gate: GateTwice, VM: r.Spec.Name, Record: r,
		What: fmt.Sprintf("known-good state of %s/%d", r.Spec.Name, s.Good.Incarnation), Why: "its record names it, and its file is gone",
	})
}

// saved finds guests that were saved and will never be loaded. One of the
// incarnation that is up may be just being written.
func (c *comparison) saved(r *vm.Record, found []vm.Incarnation, good bool) {
	s, of, kind, what := r.State, r.State.Saved, "saved", "saved guest"
	if good {
		of, kind, what = s.Good, "good", "known-good state"
	}
	for _, n := range found {
		named := of != nil && of.Incarnation == n
		if named || n > s.Incarnation || n == s.Incarnation && s.Phase&idle == 0 {
			continue
		}
		c.tell(Discrepancy{
			Key: fmt.Sprintf("%s/%s/%d", kind, r.ID, n), Mend: MendDropSaved, Gate: GateTwice, VM: r.Spec.Name, Record: r,
			What: fmt.Sprintf("%s of %s/%d", what, r.Spec.Name, n), Why: "its record doesn't name it, so nothing will ever load it",
		})
	}
}

// ownDisks says whether the VM has disks in its folder.
func ownDisks(r vm.Record) bool {
	return r.Spec.Boot.Built() || slices.ContainsFunc(r.Spec.Disks, func(d vm.Disk) bool { return d.Path == "" })
}

// OrphanAge is how long what is ours and unknown is left alone: a restore, or a
// person at work, looks like that too.
const OrphanAge = 5 * time.Minute

// Due says whether the gate is passed by something that was first seen then and
// at that many looks, and if not, when it will be (zero: nobody can say).
func (d Discrepancy) Due(now, first time.Time, looks int) (bool, time.Time) {
	switch d.Gate {
	case GateTwice:
		return looks >= 2, time.Time{}
	case GateAged:
		at := first.Add(OrphanAge)
		return looks >= 2 && !now.Before(at), at
	case GatePerson, GateNever:
	}
	return false, time.Time{}
}

// Rebuild makes records from what is left where the store is lost: the
// manifests, and the VMMs that live. What runs is wanted up, as somebody
// started it; of the others nobody knows, and they stay down.
func Rebuild(found Inventory, boot vm.BootID, now time.Time) []vm.Record {
	alive := map[vm.ID]vm.FoundVMM{}
	for _, f := range found.VMMs {
		if was, twice := alive[f.Ref.VM]; !twice || f.Ref.Incarnation > was.Ref.Incarnation {
			alive[f.Ref.VM] = f
		}
	}
	owner := map[vm.ID]vm.Name{} // a uid in two manifests is whose VMM lives, else the first's
	for _, f := range found.Folders {
		if _, taken := owner[f.ID]; f.Spec != nil && (!taken || alive[f.ID].Ref.Name == f.Name) {
			owner[f.ID] = f.Name
		}
	}
	slots := rebuiltSlots(found.Folders, alive)
	var out []vm.Record
	for _, f := range found.Folders {
		if f.Spec == nil || owner[f.ID] != f.Name || f.Spec.Filled().Check() != nil {
			continue // nobody could have created it so: a person edited its manifest
		}
		r := vm.Record{
			ID: f.ID, Slot: slots[f.Name], Spec: f.Spec.Filled(), Reservation: vm.ReservationFor(*f.Spec, Overheads(nil).For(*f.Spec, "")),
			State: vm.State{
				Revision: 1, Phase: vm.Stopped, PhaseSince: now, CreatedAt: now, HealthSince: now, AskedDown: true, Incarnation: f.Last,
				Reason: "rebuilt from its manifest: nobody knows whether it was wanted up",
			},
		}
		if v, up := alive[f.ID]; up {
			s := &r.State
			s.Intent, s.AskedDown, s.Phase, s.Deadline = vm.WantRunning, false, vm.Adopting, now.Add(adoptTimeout)
			s.Incarnation, s.BootID, s.Process, s.LaunchedAt = v.Ref.Incarnation, boot, &v.Process, now
			s.Reason = "rebuilt from its manifest and its VMM, which lives"
		}
		out = append(out, r)
	}
	return out
}

// rebuiltSlots gives each VM the slot of its VMM, else of its manifest, and a
// free one where that is another's: two VMs must not share a user or a tap's name.
func rebuiltSlots(folders []vm.FoundFolder, alive map[vm.ID]vm.FoundVMM) map[vm.Name]uint32 {
	out, taken := map[vm.Name]uint32{}, map[uint32]bool{0: true}
	for _, f := range folders {
		if v, up := alive[f.ID]; up && v.Ref.Name == f.Name {
			out[f.Name] = v.Ref.Slot
			taken[v.Ref.Slot] = true
		}
	}
	free := uint32(1)
	for _, f := range folders {
		if _, has := out[f.Name]; has {
			continue
		}
		slot := f.Slot
		if taken[slot] || slot > vm.MaxSlot {
			for taken[free] {
				free++
			}
			slot = free
		}
		out[f.Name], taken[slot] = slot, true
	}
	return out
}
