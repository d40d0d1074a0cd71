package vm

import "testing"

func TestADiskNeverShrinks(t *testing.T) {
	old := Spec{Name: "web", Disks: []Disk{{Name: "data", Size: 64 * MiB}}}
	for size, refused := range map[Bytes]bool{32 * MiB: true, 64 * MiB: false, 128 * MiB: false} {
		err := Spec{Name: "web", Disks: []Disk{{Name: "data", Size: size}}}.Follows(old)
		if (err != nil) != refused {
			t.Errorf("from 64MiB to %s: %v", size, err)
		}
	}
	if err := (Spec{Name: "web"}).Follows(old); err != nil {
		t.Errorf("a disk that is dropped from the spec: %v", err)
	}
}
