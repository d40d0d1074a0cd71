package systemd

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/vm"
)

func unitNeverTwoForOneVM(t *testing.T) {
	w := newWorld(t)
	second := w.launcher() // as if another daemon of the node lived
	defer second.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[vm.Process]bool{}
	for i := range 8 {
		wg.Go(func() {
			l := w.l
			if i%2 == 1 {
				l = second
			}
			p, err := l.Launch(t.Context(), w.Sh(1, 1, sleeps))
			if err != nil && host.KindOf(err) != host.Transient {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				got[p] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	found, err := w.l.List(t.Context())
	if err != nil || len(found) != 1 || len(got) != 1 || !got[found[0].Process] {
		t.Errorf("P1: listed %+v, %v, launched %+v", found, err, got)
	}
}

// units are those of VMs, in whatever state.
func (w *world) units() []string {
	var out []string
	for line := range strings.Lines(w.run("systemctl", "list-units", "--all", "--plain", "--no-legend", "blixard-*.service")) {
		out = append(out, line)
	}
	return out
}

func unitFiftyVMs(t *testing.T) {
	w := newWorld(t)
	const n = 50
	list, told := make([]vm.Process, n), make(chan vm.Exit, 2*n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p, err := w.l.Launch(t.Context(), w.Sh(i, 1, sleeps))
			if err != nil {
				t.Error(err)
				return
			}
			list[i] = p
			w.l.Watch(p, func(e vm.Exit) { told <- e })
		})
	}
	wg.Wait()
	launched := time.Since(began)
	if t.Failed() {
		return
	}
	began = time.Now()
	w.Restart()
	if found, err := w.l.List(t.Context()); err != nil || len(found) != n {
		t.Fatalf("listed %d, %v", len(found), err)
	}
	listed := time.Since(began)
	for _, p := range list {
		w.l.Watch(p, func(e vm.Exit) { told <- e })
	}
	began = time.Now()
	for _, p := range list {
		launchertest.Kill9(t, p.PID)
	}
	for i := range n {
		if e := w.Wait(list[i], told); !e.Known || e.Signal != 9 {
			t.Errorf("exit %+v", e)
		}
	}
	ended := time.Since(began)
	began = time.Now()
	for i := range n {
		wg.Go(func() {
			if err := w.l.Kill(t.Context(), w.Ref(i, 1), &list[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d VMs: launched in %v, adopted in %v, all ends told in %v, units freed in %v", n, launched, listed, ended, time.Since(began))
	if left := w.units(); len(left) != 0 {
		t.Errorf("P7: left %v", left)
	}
}
