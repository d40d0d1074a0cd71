package vm

import "fmt"

// Follows refuses what a new spec can't change of an old one: a disk that we
// made never shrinks, for what is cut off can't be given back.
func (s Spec) Follows(old Spec) error {
	for _, was := range old.Disks {
		for _, d := range s.Disks {
			if d.Name == was.Name && d.Size > 0 && d.Size < was.Size {
				return &Refusal{
					Code: Invalid, Why: fmt.Sprintf("disk %s of %s has %s, it can't shrink to %s", d.Name, s.Name, was.Size, d.Size),
					Try: "keep its size, or give the smaller disk another name",
				}
			}
		}
	}
	return nil
}
