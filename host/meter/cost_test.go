package meter

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/vm"
)

// BenchmarkReadOfAHundred reads a hundred VMMs of two vCPUs, with taps, folders
// and cgroups, from a forged /proc: what is left without the kernel's own work
// to make the files' text.
func BenchmarkReadOfAHundred(b *testing.B) {
	w := newTree(b)
	w.mountsV2()
	var of []vm.Metered
	dev := "Inter-|\n face |\n"
	for i := range 100 {
		cgroup := fmt.Sprintf("/blixard.slice/blixard-%d.service", i)
		w.stalls(cgroup)
		w.write("cgroup"+cgroup+"/memory.max", "209715200\n")
		one := metered(fmt.Sprint("vm-", i), w.vmm(10_000+10*i, "0::"+cgroup+"\n"))
		one.Links = []string{fmt.Sprintf("blx%dn0", i)}
		one.Folder = filepath.Join(w.root, "vms", fmt.Sprint(i))
		for _, name := range []string{"manifest.json", "console-1.log", "vmm-1.log", "disks/root.raw"} {
			w.write(fmt.Sprintf("vms/%d/%s", i, name), "x")
		}
		dev += fmt.Sprintf("%s: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n", one.Links[0])
		of = append(of, one)
	}
	w.write("proc/net/dev", dev)
	m := New(w.conf)
	b.ReportAllocs()
	for b.Loop() {
		if got := w.read(m, of...); len(got) != 100 {
			b.Fatalf("%d VMMs", len(got))
		}
	}
}
