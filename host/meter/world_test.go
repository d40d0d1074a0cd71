package meter

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

const bootID = vm.BootID("0c1a2b3c-0000-4000-8000-000000000001")

// tree is a forged /proc with a folder for cgroups beside it.
type tree struct {
	t    testing.TB
	root string
	conf Config
}

func newTree(t testing.TB) *tree {
	w := &tree{t: t, root: t.TempDir()}
	w.conf = Config{Proc: w.root + "/proc", State: w.root, BootID: bootID}
	w.write("proc/net/dev", "Inter-|   Receive  | Transmit\n face |bytes packets errs drop\n")
	return w
}

func (w *tree) write(path, text string) {
	w.t.Helper()
	path = filepath.Join(w.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// thread is a line of stat as Linux 6.18 writes it.
func thread(id int, name string, user, system int, start uint64) string {
	return fmt.Sprintf("%d (%s) S 1 %d %d 0 -1 4194560 3441 0 29 0 %d %d 0 0 20 0 4 0 %d 1283936256 24331 18446744073709551615 "+
		"94 95 140 0 0 0 268444224 4096 16963 0 0 0 17 1 0 0 0 0 0 96 97 98 140 141 142 143 0\n", id, name, id, id, user, system, start)
}

// vmm forges a QEMU of two vCPUs: 3.7 s of processor time, 2 s of it in vCPUs.
func (w *tree) vmm(pid int, cgroup string) vm.Process {
	at := "proc/" + strconv.Itoa(pid) + "/"
	start := uint64(pid) * 10
	w.write(at+"stat", thread(pid, "blixard-a) R 1 (", 300, 70, start))
	w.write(at+"status", "Name:\tblixard-a\nUmask:\t0077\nVmPeak:\t 1253844 kB\nVmHWM:\t  102400 kB\nVmRSS:\t   97324 kB\nThreads:\t4\n")
	w.write(at+"io", "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n")
	w.write(at+"cgroup", cgroup)
	for i, name := range []string{"CPU 0", "call_rcu", "CPU 0/TCG", "CPU 1/TCG"} {
		id := pid + i
		w.write(fmt.Sprintf("%stask/%d/comm", at, id), name+"\n")
		w.write(fmt.Sprintf("%stask/%d/stat", at, id), thread(id, name, 60, 40, start))
	}
	return vm.Process{PID: pid, StartTime: start, BootID: bootID}
}

func (w *tree) read(m *Meter, of ...vm.Metered) map[vm.ID]vm.Counters {
	w.t.Helper()
	got, err := m.Read(w.t.Context(), of)
	if err != nil {
		w.t.Fatal(err)
	}
	return got
}

// mountsV2 is what a machine with the unified hierarchy has in mountinfo.
func (w *tree) mountsV2() {
	w.write("proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"+
		"35 24 0:30 / "+w.root+"/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n")
	w.write("proc/self/cgroup", "0::/system.slice/blixard.service\n")
}

// mountsV1 has pressure in a v2 that is mounted beside v1, as systemd's hybrid does.
func (w *tree) mountsV1() {
	w.write("proc/self/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"+
		"35 24 0:30 / "+w.root+"/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"+
		"36 24 0:31 / "+w.root+"/cpu rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"+
		"37 24 0:32 / "+w.root+"/memory rw,nosuid - cgroup cgroup rw,memory\n")
	w.write("proc/self/cgroup", "4:memory:/daemon\n1:name=systemd:/\n0::/daemon\n")
}

func (w *tree) stalls(cgroup string) {
	for i, name := range []string{"cpu", "memory", "io"} {
		w.write("cgroup"+cgroup+"/"+name+".pressure",
			fmt.Sprintf("some avg10=0.00 avg60=1.20 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n", (i+1)*1000))
	}
}

var stalled = vm.Stalls{CPU: time.Millisecond, Memory: 2 * time.Millisecond, IO: 3 * time.Millisecond}

func metered(id string, p vm.Process) vm.Metered {
	return vm.Metered{Ref: vm.Ref{VM: vm.ID(id), Name: vm.Name(strings.ToLower(id))}, Process: p}
}
