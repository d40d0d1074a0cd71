package actors

import (
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// giveRoomBack lets guests go on that a full disk halted, where all their disks
// can grow again. No filesystem tells of its room, so it is looked at with each
// sample, and only while a guest stands still for want of it.
func (e *env) giveRoomBack() {
	for _, v := range e.views.list() {
		s := v.rec.State
		if s.Phase == vm.Paused && s.Stalled != "" && e.hasRoom(v.rec) {
			e.tell(v.pid, messages.SpaceBack{Incarnation: s.Incarnation})
		}
	}
}

// hasRoom says whether each filesystem under a disk of the VM has room.
func (e *env) hasRoom(rec vm.Record) bool {
	places := []string{e.ports.Folders.Paths(rec.Ref()).Folder}
	for _, d := range rec.Spec.Disks {
		if d.Path != "" {
			places = append(places, d.Path)
		}
	}
	if rec.Spec.Boot.Disk != "" {
		places = append(places, rec.Spec.Boot.Disk)
	}
	for _, place := range places {
		if room, err := e.ports.Machine.Room(place); err != nil || room < policies.EnoughRoom {
			return false
		}
	}
	return true
}
