package folders

import (
	"fmt"
	"testing"

	"github.com/blixard/blixard/vm"
)

// BenchmarkPrepare is what each start waits for: of a VM that was prepared by
// this daemon before, and of one that it meets anew.
func BenchmarkPrepare(b *testing.B) {
	for _, disks := range []int{0, 2} {
		for _, anew := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d disks, daemon anew %v", disks, anew), func(b *testing.B) {
				f := newFolders(b)
				r := record("web-1", 1)
				r.Spec.Disks = nil
				for i := range disks {
					r.Spec.Disks = append(r.Spec.Disks, vm.Disk{Name: fmt.Sprintf("d%d", i), Size: 64 * vm.MiB})
				}
				for b.Loop() {
					if anew {
						f = &Folders{Config: f.Config}
					}
					if err := f.Prepare(b.Context(), r); err != nil {
						b.Fatal(err)
					}
					r.State.LastExit = &vm.Crash{Failure: vm.Failure{Incarnation: r.State.Incarnation, Ready: true}}
					r.State.Incarnation++
				}
			})
		}
	}
}
