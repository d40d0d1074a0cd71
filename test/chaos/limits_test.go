package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// limited is a node whose launcher holds limits, wherever it runs.
type limited struct {
	*ward
	vmm func(pid int) (node.Process, error)
}

// holders are the same scenario on both launchers.
func holders(t *testing.T, scenario func(l *limited)) {
	t.Run("process", func(t *testing.T) {
		t.Parallel()
		w := begin(t, node.Options{})
		scenario(&limited{&w.ward, w.VMM})
	})
	t.Run("systemd", func(t *testing.T) {
		t.Parallel()
		s := settle(t, node.Options{})
		scenario(&limited{&s.ward, s.VMM})
	})
}

// holds skips a scenario whose limit can't be held here.
func (l *limited) holds(vm *v1.VM, limit string) {
	l.t.Helper()
	for _, why := range vm.GetLimits().GetMissing() {
		if strings.HasPrefix(why, limit+":") {
			l.t.Skip("this machine doesn't hold the limit: " + why)
		}
	}
}

// burns has every processor of the guest burnt until the scenario ends.
func (l *limited) burns(name string, processors int) {
	ctx, cancel := context.WithCancel(l.ctx)
	l.t.Cleanup(cancel)
	for range processors {
		go func() { _, _ = l.node.Inside(ctx, name, "burn", "60") }() // it ends with the VM
	}
}

// processorTime of a VMM.
func (l *limited) processorTime(vm *v1.VM) time.Duration {
	l.t.Helper()
	p, err := l.vmm(int(vm.GetPid()))
	l.must(err)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	l.must(err)
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	user, err := strconv.Atoi(string(fields[11]))
	l.must(err)
	system, err := strconv.Atoi(string(fields[12]))
	l.must(err)
	return time.Duration(user+system) * 10 * time.Millisecond
}

// A guest that burns all its processors gets its quota and not a tenth more;
// with a small weight it leaves a neighbour his share, and the daemon answers
// as if nothing were.
func TestAGuestThatBurnsStarvesNobody(t *testing.T) {
	t.Parallel()
	holders(t, func(l *limited) {
		const quota = 50
		hog := node.Builtin("hog", "")
		hog.Cpus, hog.Resources = 2, &v1.Resources{CpuQuota: quota, CpuWeight: 10}
		is := l.up(hog)
		l.holds(is, "cpu")
		idle := l.listed()
		l.burns("hog", 2)
		l.eventually("the guest burns", boot, func() bool {
			before := l.processorTime(is)
			<-time.After(200 * time.Millisecond)
			return l.processorTime(is)-before >= 60*time.Millisecond
		})
		began, before := time.Now(), l.processorTime(is)
		busy := l.listed()
		<-time.After(2 * time.Second)
		used := l.processorTime(is) - before // first: what passes until the clock is read is the guest's gain
		took := time.Since(began)
		if most := took * quota / 100 * 11 / 10; used > most {
			l.t.Errorf("with a quota of %d %% it used %v in %v", quota, used, took)
		}
		l.t.Logf("the quota of %d %%: %v of processor in %v; a list took at most %v before, and %v meanwhile", quota, used, took, idle, busy)
		if busy > 10*idle+5*time.Second { // other scenarios are on the same processors
			l.t.Errorf("a list took %v, and %v before the guest burnt", busy, idle)
		}
		if again, err := l.node.Get(l.ctx, "hog"); err != nil || again.GetPid() != is.GetPid() {
			l.t.Errorf("it died of its limit: %v, %v", again, err)
		}
	})
}

// listed is the longest of some lists.
func (l *limited) listed() time.Duration {
	l.t.Helper()
	var most time.Duration
	for range 20 {
		began := time.Now()
		_, err := l.node.List(l.ctx)
		l.must(err)
		most = max(most, time.Since(began))
	}
	return most
}

// A VMM that wants more than its limit is killed by that, and nobody else is:
// its death has the numbers, counts, and is followed by the next incarnation.
func TestAVMMThatPassesItsLimitDiesAlone(t *testing.T) {
	t.Parallel()
	holders(t, func(l *limited) {
		spec := node.Builtin("leaky", "")
		spec.MemoryBytes = 256 << 20 // more than its boot touches
		is := l.up(spec)
		l.holds(is, "memory")
		if limit, guest := is.GetLimits().GetMemoryBytes(), is.GetSpec().GetMemoryBytes(); limit <= guest {
			l.t.Fatalf("a guest of %d bytes has a limit of %d", guest, limit)
		}
		neighbour := l.up(node.Builtin("calm", ""))
		p, err := l.vmm(int(is.GetPid()))
		l.must(err)
		limit := l.tighten(p.PID, 4<<20)
		go func() { _, _ = l.node.Inside(l.ctx, "leaky", "eat", "64") }() // its guest dies meanwhile
		e := l.ended("leaky", boot)
		if e.GetCause() != "oom-cgroup" || !strings.Contains(e.GetWhy(), "own memory limit") {
			l.t.Errorf("its end was told as %s: %s", e.GetCause(), e.GetWhy())
		}
		l.t.Logf("limited to %d MiB: %s", limit>>20, e.GetWhy())
		again := l.next(is)
		if used := again.GetRestarts().GetInWindow(); used != 1 {
			l.t.Errorf("it counts as %d failures", used)
		}
		if calm, err := l.node.Get(l.ctx, "calm"); err != nil || calm.GetPid() != neighbour.GetPid() {
			l.t.Errorf("its neighbour is %v, %v", calm, err)
		}
	})
}

// tighten lowers the memory limit of a process's cgroup to what it has now and a
// little more: it stands for a VMM that leaks until it meets a limit.
func (l *limited) tighten(pid, more int) (limit int) {
	l.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	l.must(err)
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		for _, try := range []struct{ dir, now, most string }{
			{filepath.Join("/sys/fs/cgroup/memory", parts[2]), "memory.usage_in_bytes", "memory.limit_in_bytes"},
			{filepath.Join("/sys/fs/cgroup", parts[2]), "memory.current", "memory.max"},
		} {
			text, err := os.ReadFile(filepath.Join(try.dir, try.now))
			if err != nil || parts[1] != "memory" && parts[1] != "" {
				continue
			}
			now, err := strconv.Atoi(strings.TrimSpace(string(text)))
			l.must(err)
			limit = now + more
			l.must(os.WriteFile(filepath.Join(try.dir, try.most), []byte(strconv.Itoa(limit)), 0o600))
			return limit
		}
	}
	l.t.Fatalf("process %d is in no cgroup that limits memory: %s", pid, b)
	return 0
}
