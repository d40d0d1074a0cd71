package chaos

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// load is how many processes want a processor all the time, at least.
const load = 20

// busy begins processes that take every processor they get, and ends them.
func (w *ward) busy(n int) (end func()) {
	w.t.Helper()
	var all []*exec.Cmd
	for range n {
		c := exec.CommandContext(w.ctx, "sh", "-c", "while :; do :; done")
		w.must(c.Start())
		all = append(all, c)
	}
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
	w.t.Cleanup(end)
	return end
}

// loadTime is how long the host is under load: BLIXARD_LOAD, such as 2m.
func loadTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BLIXARD_LOAD")
	if text == "" {
		return 10 * time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("BLIXARD_LOAD: %v", err)
	}
	return d
}

// A host with ten times more work than processors restarts no guest for its
// slowness, and one that really hangs is healed when the load is over at the
// latest (P16). It is not parallel to others: their bounds are for a host that
// has time for them.
func TestALoadedHostBlamesNobody(t *testing.T) {
	if !allScenarios() {
		t.Skip("minutes of load are for make chaos alone")
	}
	long := loadTime(t)
	w := begin(t, node.Options{})
	w.patience(long + 15*time.Minute)
	var vms []*v1.VM
	for i := range 20 {
		spec := node.Builtin("vm-"+strconv.Itoa(i), "")
		spec.MemoryBytes = 80 << 20 // less, and its kernel has no room to boot
		spec.Health = nil           // the default probes
		vms = append(vms, w.up(spec))
	}
	hung, well := vms[19], vms[:19]
	before := w.rounds()
	end := w.busy(max(load, 10*runtime.NumCPU()))
	w.hurt(hung.GetName(), "fault", "lockup")
	w.looksOn(long, well)
	t.Logf("rounds in %v of load: %s", long, w.rounds().since(before))
	for _, vm := range well {
		w.same(vm, "under load")
	}
	end()
	w.judged(hung, boot)
	gone := w.ended(hung.GetName(), soon)
	if gone.GetCause() != "health-failed" {
		t.Errorf("want health-failed, got %s: %s", gone.GetCause(), gone.GetWhy())
	}
	w.healthy(hung.GetName(), gone.GetRevision())
	var pids []int32
	restarts := int32(0)
	all, err := w.List(w.ctx)
	w.must(err)
	for _, vm := range all {
		pids = append(pids, vm.GetPid())
		restarts += int32(vm.GetCrashes())
	}
	for _, vm := range well {
		w.same(vm, "after the load")
	}
	slices.Sort(pids)
	w.only(pids...)
	t.Logf("restarts: %d of guests that are well, 1 of the one that hung", restarts-1)
}

// patience gives a scenario that lasts more time than others have.
func (w *world) patience(d time.Duration) {
	ctx, cancel := context.WithTimeout(w.t.Context(), d)
	w.t.Cleanup(cancel)
	w.ctx = ctx
}

// rounds are those of all checks by their results, as the node counts them.
type rounds map[string]float64

func (w *world) rounds() rounds {
	w.t.Helper()
	const metric = "blixard_check_rounds_total{result=\""
	text, err := exec.CommandContext(w.ctx, "curl", "-sS", "--fail", "--unix-socket", w.Socket, "http://node/metrics").Output()
	w.must(err)
	out := rounds{}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, metric); ok {
			result, n, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
			out[result], err = strconv.ParseFloat(n, 64)
			w.must(err)
		}
	}
	if len(out) == 0 {
		w.t.Fatalf("no rounds are counted:\n%.2000s", text)
	}
	return out
}

func (r rounds) since(before rounds) string {
	return fmt.Sprintf("%.0f passed, %.0f failed, %.0f not judged",
		r["passed"]-before["passed"], r["failed"]-before["failed"], r["excused"]-before["excused"])
}

// looksOn lets the time pass, and tells how slow the host was: by how much a
// process that wants to run every second came late, and for which share of a
// second the worst thread of a VMM had no processor.
func (w *world) looksOn(long time.Duration, vms []*v1.VM) {
	w.t.Helper()
	var late []time.Duration
	var starved []float64
	before, read := make([]map[string]time.Duration, len(vms)), make([]time.Time, len(vms))
	tick, over := time.NewTicker(time.Second), time.After(long)
	defer tick.Stop()
	for {
		select {
		case <-w.ctx.Done():
			w.t.Fatal(w.ctx.Err())
		case <-over:
			slices.Sort(late)
			slices.Sort(starved)
			text, err := os.ReadFile("/proc/loadavg")
			w.must(err)
			w.t.Logf("load %s", strings.TrimSpace(string(text)))
			w.t.Logf("a second's tick came late by %v (median), %v (99 %%), %v (most)", at(late, 0.5), at(late, 0.99), at(late, 1))
			w.t.Logf("a VMM's worst thread waited %.0f %% (median), %.0f %% (90 %%), %.0f %% (99 %%), %.0f %% (most) of a second",
				100*at(starved, 0.5), 100*at(starved, 0.9), 100*at(starved, 0.99), 100*at(starved, 1))
			return
		case due := <-tick.C:
			late = append(late, time.Since(due))
			for i, vm := range vms {
				now, at := runDelays(int(vm.GetPid())), time.Now()
				if before[i] != nil {
					starved = append(starved, float64(longest(before[i], now))/float64(at.Sub(read[i])))
				}
				before[i], read[i] = now, at
			}
		}
	}
}

// at is the value below which that share of the sorted ones are.
func at[T any](sorted []T, share float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	return sorted[int(math.Ceil(share*float64(len(sorted)-1)))]
}

// runDelays is how long each thread of a process could have run, and had no processor.
func runDelays(pid int) map[string]time.Duration {
	out := map[string]time.Duration{}
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid)) // the pattern is ours
	for _, path := range paths {
		b, err := os.ReadFile(path)
		fields := strings.Fields(string(b))
		if err != nil || len(fields) < 2 {
			continue
		}
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			out[path] = time.Duration(n)
		}
	}
	return out
}

// longest is by how much the one grew that grew most.
func longest(before, now map[string]time.Duration) (most time.Duration) {
	for thread, waited := range now {
		most = max(most, waited-before[thread])
	}
	return most
}
