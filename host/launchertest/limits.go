package launchertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

// holds skips a clause whose limit the machine can't hold.
func (w *World) holds(which func(vm.Holding) string) {
	w.T.Helper()
	if why := which(w.L.Holding()); why != "" {
		w.T.Skip("this machine doesn't hold the limit: " + why)
	}
}

func memoryOf(h vm.Holding) string { return h.Memory }

// Leak is a VMM that, once the file is there, takes memory without end.
func (w *World) Leak(i int, limit vm.Bytes, when string) host.Command {
	c := w.Sh(i, 1, `until [ -e "$1" ]; do sleep 0.02; done; x=$(head -c 1048576 /dev/zero | tr '\0' a); while :; do x="$x$x"; done`, when)
	c.Limits = vm.Limits{Memory: limit, Tasks: 64}
	return c
}

// now is a file that is there.
const now = "/dev/null"

func whatLeaksDiesOfItsOwnLimit(w *World) {
	w.holds(memoryOf)
	neighbour := w.Launch(w.Sh(1, 1, Sleeps))
	p := w.Launch(w.Leak(2, 32*vm.MiB, now))
	w.starved(p, w.Exit(p))
	if !Alive(neighbour) {
		w.T.Error("its neighbour died with it")
	}
}

// starved fails unless the VMM was killed at its limit of 32 MiB, and that is told.
func (w *World) starved(p vm.Process, e vm.Exit) {
	w.T.Helper()
	if e.Known && e.Signal != 9 || e.OOM == nil {
		w.T.Fatalf("it ended with %+v", e)
	}
	if o := *e.OOM; o.Limit != 32*vm.MiB || o.Usage < 31*vm.MiB || o.Usage > 32*vm.MiB || o.Host || !strings.Contains(o.Victim, "process") {
		w.T.Errorf("the end of process %d was attributed as %+v", p.PID, o)
	}
}

func limitsOutliveTheDaemon(w *World) {
	w.holds(memoryOf)
	when := filepath.Join(w.Dir, "when")
	old := w.Orphans(w.Leak(2, 32*vm.MiB, when))
	p, err := w.L.Find(w.T.Context(), w.Ref(2, 1), &old[0])
	if err != nil {
		w.T.Fatal(err)
	}
	ended := make(chan vm.Exit, 1)
	w.L.Watch(p, func(e vm.Exit) { ended <- e })
	if err := os.WriteFile(when, nil, 0o644); err != nil {
		w.T.Fatal(err)
	}
	w.starved(p, w.Wait(p, ended))
}

func aForkBombIsBounded(w *World) {
	w.holds(func(h vm.Holding) string { return h.Tasks })
	const most, mark = 24, "600.7"
	c := w.Sh(1, 1, `i=0; while [ $i -lt 100 ]; do sleep `+mark+` & i=$((i+1)); done; echo "no bound" >&2; wait`)
	c.Limits.Tasks = most
	p := w.Launch(c)
	if e := w.Exit(p); e.Known && e.Code == 0 {
		w.T.Errorf("it ended with %+v and wrote %q", e, w.Stderr(c))
	}
	if n := len(marked(mark)); n > most {
		w.T.Errorf("%d processes, where %d may be", n, most)
	}
	if err := w.L.Kill(context.Background(), c.Ref, &p); err != nil {
		w.T.Error(err)
	}
	if left := marked(mark); len(left) > 0 {
		w.T.Errorf("P7: the kill left %d of them: %v", len(left), left)
	}
}

// marked are the live processes that have the word as an argument.
func marked(word string) []int {
	pids, _ := procfs.Default.PIDs() // an empty list fails the test, too
	var out []int
	for _, pid := range pids {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && strings.Contains("\x00"+string(line), "\x00"+word+"\x00") {
			out = append(out, pid)
		}
	}
	return out
}

// burns is a VMM that wants all processors.
func (w *World) burns(i int, l vm.Limits) host.Command {
	c := w.Sh(i, 1, `i=1; while [ $i -lt $1 ]; do (while :; do :; done) & i=$((i+1)); done; while :; do :; done`, strconv.Itoa(runtime.NumCPU()))
	c.Limits = l
	return c
}

// measured is how long processors are watched: twenty periods of a quota.
const measured = 2 * time.Second

// used is the processor time that each VMM takes in the time.
func (w *World) used(of ...vm.Process) []time.Duration {
	w.T.Helper()
	before := make([]time.Duration, len(of))
	for i, p := range of {
		before[i] = processorTime(p.PID)
	}
	<-time.After(measured)
	out := make([]time.Duration, len(of))
	for i, p := range of {
		out[i] = processorTime(p.PID) - before[i]
	}
	return out
}

// processorTime is that of the VMM with its children, which are in its session.
func processorTime(leader int) time.Duration {
	pids, _ := procfs.Default.PIDs() // then nothing was used, and the test fails
	ticks := 0
	for _, pid := range pids {
		s, err := procfs.Default.Stat(pid)
		if err != nil || s.Session != leader {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, after, _ := strings.Cut(string(line), ") ")
		fields := strings.Fields(after)
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] { // utime, stime
			n, _ := strconv.Atoi(field)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// A quota is never passed by more than a tenth. That it is used up can't be
// promised: the machine may have other work.
func aQuotaHolds(w *World) {
	w.holds(func(h vm.Holding) string { return h.CPU })
	const percent = 40
	p := w.Launch(w.burns(1, vm.Limits{CPUQuota: percent}))
	began := time.Now()
	used := w.used(p)[0]
	if most := time.Since(began) * percent / 100 * 11 / 10; used > most || used == 0 {
		w.T.Errorf("in %v it used %v, where %v are the most", time.Since(began), used, most)
	}
}

func aWeightIsAShare(w *World) {
	w.holds(func(h vm.Holding) string { return h.CPU })
	light := w.Launch(w.burns(1, vm.Limits{CPUWeight: 100}))
	heavy := w.Launch(w.burns(2, vm.Limits{CPUWeight: 1000}))
	used := []time.Duration{0, 0}
	for range 10 { // a machine that has other work to do leaves little to compare
		more := w.used(light, heavy)
		used[0], used[1] = used[0]+more[0], used[1]+more[1]
		if used[0]+used[1] > 500*time.Millisecond {
			break
		}
	}
	w.T.Logf("weights 100 and 1000 got %v", used)
	if used[1] < 3*used[0] { // it is ten times as much on an idle machine; others may hold one processor for a while
		w.T.Errorf("with the weights 100 and 1000 they used %v", used)
	}
}
