package systemd

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/proof"
	"github.com/blixard/blixard/vm"
)

// until waits for something that the machine does by itself.
func (w *world) until(story string, is func() bool) {
	w.T.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			w.T.Fatalf("never: %s\n%s", story, w.run("systemctl", "list-units", "--all", "blixard-*"))
		}
	}
}

func (w *world) state(i int) string {
	return strings.TrimSpace(w.run("systemctl", "show", "--value", "-p", "SubState", proof.UnitName(w.Ref(i, 1).Name)))
}

func unitOrphansAreAdopted(t *testing.T) {
	w := newWorld(t)
	old := w.Orphans(w.Sh(1, 4, sleeps), w.Sh(2, 1, sleeps))
	p, err := w.l.Find(t.Context(), w.Ref(1, 4), &old[0])
	if err != nil || p != old[0] {
		t.Fatalf("by its record: %+v, %v, want %+v", p, err, old[0])
	}
	q, err := w.l.Find(t.Context(), w.Ref(2, 1), nil)
	if err != nil || q != old[1] {
		t.Fatalf("by its tags: %+v, %v, want %+v", q, err, old[1])
	}
	again, err := w.l.Launch(t.Context(), w.Sh(1, 4, sleeps))
	if err != nil || again != p {
		t.Errorf("P1: launched once more: %+v, %v", again, err)
	}
	_, err = w.l.Launch(t.Context(), w.Sh(1, 5, sleeps))
	launchertest.WantKind(t, "P1: the next incarnation while this one lives", err, host.Transient)
	ended := make(chan vm.Exit, 2)
	w.l.Watch(p, func(e vm.Exit) { ended <- e })
	began := time.Now()
	launchertest.Kill9(t, p.PID)
	e := w.Wait(p, ended)
	t.Logf("told of a kill after %v", time.Since(began))
	if !e.Known || e.Signal != int(unix.SIGKILL) || e.Result != "signal" {
		t.Errorf("the end of an orphan: %+v", e)
	}
	if err := w.l.Kill(t.Context(), w.Ref(2, 1), &old[1]); err != nil || launchertest.Alive(q) {
		t.Errorf("killing an orphan: %v, alive %v", err, launchertest.Alive(q))
	}
	w.until("a kill frees the unit", func() bool { return w.state(2) == "dead" })
}

func unitVerdictWaitsForADaemonThatWasDown(t *testing.T) {
	w := newWorld(t)
	waits := "until [ -e " + w.Dir + "/go ]; do sleep 0.01; done; "
	hints := w.Orphans(
		w.Sh(1, 1, waits+"exit 0"), w.Sh(2, 1, waits+"exit 7"), w.Sh(3, 1, waits+"kill -KILL $$"),
	)
	_ = w.l.Close()
	if err := os.WriteFile(w.Dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w.until("all have ended", func() bool { return w.state(1) == "exited" && w.state(2) == "failed" && w.state(3) == "failed" })
	w.L = w.Open()
	for i, want := range map[int]vm.Exit{
		1: {Known: true, Result: "success"}, 2: {Known: true, Code: 7, Result: "exit-code"}, 3: {Known: true, Signal: 9, Result: "signal"},
	} {
		_, err := w.l.Find(t.Context(), w.Ref(i, 1), &hints[i-1])
		launchertest.WantKind(t, "it doesn't live", err, host.Gone)
		for range 2 {
			e, err := w.l.Verdict(t.Context(), w.Ref(i, 1), &hints[i-1])
			if err != nil || e.At.IsZero() || time.Since(e.At) > time.Minute {
				t.Errorf("verdict at %v, %v", e.At, err)
			}
			if e.At, e.CPU, e.MemoryPeak = (time.Time{}), 0, 0; e != want {
				t.Errorf("the verdict of %d is %+v, want %+v", i, e, want)
			}
		}
		_, err = w.l.Verdict(t.Context(), w.Ref(i, 2), nil)
		launchertest.WantKind(t, "the verdict of an incarnation that never was", err, host.Gone)
		other := w.Ref(i, 1)
		other.VM = "00000000000000ff"
		_, err = w.l.Verdict(t.Context(), other, nil)
		launchertest.WantKind(t, "the verdict of another VM of that name", err, host.Gone)
	}
	w.Launch(w.Sh(2, 2, sleeps))
	if e, err := w.l.Verdict(t.Context(), w.Ref(2, 1), nil); err != nil || e.Code != 7 {
		t.Errorf("after the next launch the verdict is %+v, %v", e, err)
	}
	if err := w.l.Kill(t.Context(), w.Ref(3, 1), nil); err != nil || w.state(3) != "dead" {
		t.Errorf("a kill of what has ended left it %s: %v", w.state(3), err)
	}
	for _, i := range []int{1, 2} {
		if err := w.l.Kill(t.Context(), w.Ref(i, 2), nil); err != nil || w.state(i) != "dead" {
			t.Errorf("a kill of what has ended left it %s: %v", w.state(i), err)
		}
	}
}

func unitOfAStrangerIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.run("systemd-run", "--unit=blixard-vm-1", "sleep", "600")
	w.run("systemd-run", "--unit=blixard-vm-2", "-p", "Type=oneshot", "-p", "RemainAfterExit=yes", "true") // comes back when it has exited
	defer w.run("systemctl", "stop", "blixard-vm-1", "blixard-vm-2")
	for i := 1; i <= 2; i++ {
		_, err := w.l.Launch(t.Context(), w.Sh(i, 1, sleeps))
		launchertest.WantKind(t, "the name is taken", err, host.Broken)
		if err := w.l.Kill(t.Context(), w.Ref(i, 1), nil); err != nil {
			t.Error(err)
		}
	}
	if a, b := w.state(1), w.state(2); a != "running" || b != "exited" {
		t.Errorf("P8: the strangers are %s and %s", a, b)
	}
	if found, err := w.l.List(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("listed %+v, %v", found, err)
	}
}

func unitOfADeadVMOfTheSameNameIsFreed(t *testing.T) {
	w := newWorld(t)
	w.Exit(w.Launch(w.Sh(1, 1, "exit 0")))
	other := w.Sh(1, 1, sleeps)
	other.Ref.VM = "00000000000000ff"
	p := w.Launch(other)
	if err := w.l.Kill(t.Context(), w.Ref(1, 9), nil); err != nil || !launchertest.Alive(p) {
		t.Errorf("P8: the new VM of that name was killed for the old one: %v", err)
	}
}

func unitLivesThroughALostBus(t *testing.T) {
	w := newWorld(t)
	var again atomic.Int32
	w.config.Reconnected = func() { again.Add(1) }
	_ = w.l.Close()
	w.L = w.Open()
	p, q := w.Launch(w.Sh(1, 1, sleeps)), w.Launch(w.Sh(2, 1, sleeps))
	ended := make(chan vm.Exit, 2)
	w.l.Watch(p, func(e vm.Exit) { ended <- e })
	w.run("systemctl", "restart", "dbus")
	w.run("systemctl", "daemon-reload")
	if found, err := w.l.List(t.Context()); err != nil || len(found) != 2 {
		t.Errorf("without a D-Bus daemon: %+v, %v", found, err)
	}
	if state := w.run("systemctl", "show", "--value", "-p", "LoadState", proof.UnitName("vm-1")); state != "loaded\n" {
		t.Errorf("after a reload its unit is %s%s", state, w.run("cat", "/run/systemd/transient/blixard-vm-1.service"))
	}
	w.run("systemctl", "daemon-reexec")
	launchertest.Kill9(t, p.PID)
	if e := w.Wait(p, ended); e.Signal != int(unix.SIGKILL) {
		t.Errorf("it ended while systemd executed itself anew: %+v", e)
	}
	w.until("it reconnects", func() bool { return again.Load() > 0 })
	found, err := w.l.List(t.Context())
	if err != nil || len(found) != 1 || found[0].Process != q || !launchertest.Alive(q) {
		t.Errorf("after it: %+v, %v, want %+v alone", found, err, q)
	}
	w.Launch(w.Sh(1, 2, sleeps))
	if err := w.l.Kill(t.Context(), w.Ref(2, 1), &q); err != nil || launchertest.Alive(q) {
		t.Errorf("killing: %v", err)
	}
}

func unitOutageIsTransient(t *testing.T) {
	w := newWorld(t)
	p := w.Launch(w.Sh(1, 1, sleeps))
	away := w.l.bus
	away.mu.Lock()
	conn := away.conn
	away.conn = nil
	away.mu.Unlock()
	_, err := w.l.Launch(t.Context(), w.Sh(2, 1, sleeps))
	launchertest.WantKind(t, "a launch", err, host.Transient)
	if found, err := w.l.List(t.Context()); err != nil || len(found) != 1 || found[0].Process != p {
		t.Errorf("a list needs no bus: %+v, %v", found, err)
	}
	w.l.hands.settled.Store(false) // as after a launch that was lost with the bus
	_, err = w.l.List(t.Context())
	launchertest.WantKind(t, "a list that may miss one that is being started", err, host.Transient)
	_, err = w.l.Verdict(t.Context(), w.Ref(1, 1), nil)
	launchertest.WantKind(t, "a verdict", err, host.Transient)
	if q, err := w.l.Find(t.Context(), w.Ref(1, 1), &p); err != nil || p != q {
		t.Errorf("who lives is known without a bus: %+v, %v", q, err)
	}
	launchertest.WantKind(t, "a kill can't prove that the unit is empty", w.l.Kill(t.Context(), w.Ref(1, 1), &p), host.Transient)
	if launchertest.Alive(p) {
		t.Error("a kill waits for the bus")
	}
	away.mu.Lock()
	away.conn = conn
	away.mu.Unlock()
	if err := w.l.Kill(t.Context(), w.Ref(1, 1), &p); err != nil || w.state(1) != "dead" {
		t.Errorf("the kill again: %v, %s", err, w.state(1))
	}
}

func unitsThatEndedLongAgoAreFreed(t *testing.T) {
	w := newWorld(t)
	w.Exit(w.Launch(w.Sh(1, 1, "exit 3")))
	w.Exit(w.Launch(w.Sh(2, 1, "exit 0")))
	w.Launch(w.Sh(3, 1, sleeps))
	w.run("systemd-run", "--unit=blixard-vm-4", "-p", "RemainAfterExit=yes", "true")
	w.Restart()
	if _, err := w.l.List(t.Context()); err != nil || w.state(1) != "failed" || w.state(2) != "exited" {
		t.Fatalf("at once they are %s and %s: %v", w.state(1), w.state(2), err)
	}
	if err := w.l.sweep(t.Context(), time.Now().Add(keepDead)); err != nil {
		t.Fatal(err)
	}
	if a, b, c, d := w.state(1), w.state(2), w.state(3), w.state(4); a != "dead" || b != "dead" || c != "running" || d != "exited" {
		t.Errorf("later they are %s, %s; one that runs is %s, a stranger's %s", a, b, c, d)
	}
	if e, err := w.l.Verdict(t.Context(), w.Ref(1, 1), nil); err != nil || e.Code != 3 || e.Result != "exit-code" {
		t.Errorf("the verdict is kept: %+v, %v", e, err)
	}
}
