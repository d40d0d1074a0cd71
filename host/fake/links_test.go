package fake_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/vm"
)

var (
	ref  = vm.Ref{VM: "a", Name: "web", Slot: 3, Incarnation: 7, BootID: "boot-1"}
	nics = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}, {Mode: vm.NetworkUser}, {Mode: vm.NetworkBridge, Bridge: "br0"}}
)

// machine is a world without dice, and what broke a promise in it.
func machine(t *testing.T) (w *fake.World, broken func() []string) {
	var mu sync.Mutex
	var all []string
	watch := fake.Watch{Broken: func(promise, _ string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, promise)
	}}
	w = fake.New(1, watch, func(vm.Ref) fake.Guest { return fake.Guest{Boot: 1} }, t.Logf)
	return w, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// up makes the taps and launches the VM.
func up(t *testing.T, p host.Ports, r vm.Ref) {
	t.Helper()
	c, err := p.Driver.Command(r, vm.Spec{Networks: nics}, host.Paths{})
	if err != nil {
		t.Fatal(err)
	}
	c.Limits = vm.Limits{Memory: vm.GiB, Tasks: 100}
	if _, err := p.Launcher.Launch(t.Context(), c); host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("launched without taps: %v", err)
	}
	if _, err := p.Links.Ensure(t.Context(), r, nics, 1, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Launcher.Launch(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// TestAnUnpluggedTapIsToldToTheLivingDaemon, and to the next one when it looks.
func TestAnUnpluggedTapIsToldToTheLivingDaemon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := machine(t)
		first := w.Daemon()
		up(t, first.Ports(), ref)
		var mu sync.Mutex
		var told [3][]host.LinkNotice
		into := func(i int) func(host.LinkNotice) {
			return func(n host.LinkNotice) {
				mu.Lock()
				defer mu.Unlock()
				told[i] = append(told[i], n)
			}
		}
		first.Ports().Links.Watch(ref, nics, into(0))
		first.Ports().Links.Watch(ref, nics, into(2))() // who looks no more is told nothing
		if !w.Unplug("a") || w.Unplug("b") {
			t.Error("the wrong VM was unplugged")
		}
		synctest.Wait()
		first.Crash()
		if !w.Unplug("a") || w.Unplug("a") {
			t.Error("it had two taps")
		}
		second := w.Daemon()
		second.Ports().Links.Watch(ref, nics, into(1))
		synctest.Wait()
		if len(told[0]) != 1 || len(told[1]) != 2 || !told[0][0].Lost || told[0][0].Link != host.LinkName(3, 0) || told[2] != nil {
			t.Errorf("told %+v", told)
		}
	})
}

// TestAGuestWithoutItsBridgeIsToldTwice: when it is cut off, which a later
// daemon is told too, and when it is whole.
func TestAGuestWithoutItsBridgeIsToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := machine(t)
		first := w.Daemon()
		up(t, first.Ports(), ref)
		told := make(chan host.LinkNotice, 16)
		first.Ports().Links.Watch(ref, nics, func(n host.LinkNotice) { told <- n })
		if !w.CutOff("a", true) || w.CutOff("a", true) || w.CutOff("b", true) {
			t.Error("the wrong VM was cut off")
		}
		hear := func(broken bool) {
			t.Helper()
			synctest.Wait()
			for range 2 { // taps
				if n := <-told; n.Lost || n.Broken != broken || n.Why == "" {
					t.Errorf("told %+v, want broken %v", n, broken)
				}
			}
		}
		hear(true)
		first.Crash()
		second := w.Daemon()
		second.Ports().Links.Watch(ref, nics, func(n host.LinkNotice) { told <- n })
		hear(true)
		if !w.CutOff("a", false) || w.CutOff("a", false) {
			t.Error("it was not healed")
		}
		hear(false)
		if len(told) != 0 {
			t.Errorf("told once more: %+v", <-told)
		}
	})
}

// TestTapsOutliveTheDaemonAndNoPowerCut, and what holds them at rest is seen (P7).
func TestTapsOutliveTheDaemonAndNoPowerCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, broken := machine(t)
		d := w.Daemon()
		up(t, d.Ports(), ref)
		d.Crash()
		p := w.Daemon().Ports()
		next := ref
		next.Incarnation++
		if _, err := p.Links.Ensure(t.Context(), next, nics, 1, 1); host.KindOf(err) != host.Transient || err == nil {
			t.Errorf("a tap that a live VMM holds was taken: %v", err)
		}
		if err := p.Launcher.Kill(t.Context(), ref, nil); err != nil || !w.Held("web") {
			t.Errorf("its taps went with the VMM, or %v", err)
		}
		if _, err := p.Links.Ensure(t.Context(), next, nics, 1, 1); err != nil {
			t.Error(err)
		}
		found, err := p.Links.List(t.Context())
		if err != nil || len(found) != 2 || found[1] != (vm.FoundLink{Name: host.LinkName(3, 2), Index: 2, VM: "a", Number: 8}) {
			t.Errorf("listed %+v, %v", found, err)
		}
		for range 2 {
			if err := p.Links.Remove(t.Context(), found[1]); err != nil || len(w.Taps("a")) != 1 {
				t.Errorf("%v are left, %v", w.Taps("a"), err)
			}
		}
		if err := p.Links.Release(t.Context(), ref, nics); err != nil || len(w.Taps("a")) != 1 {
			t.Errorf("a late release left %v, %v", w.Taps("a"), err)
		}
		w.PowerCut()
		if w.Held("web") || len(broken()) != 0 {
			t.Errorf("held %v; broken %v", w.Taps("a"), broken())
		}
	})
}

// TestATapTakenFromALiveGuestBreaksAPromise.
func TestATapTakenFromALiveGuestBreaksAPromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, broken := machine(t)
		p := w.Daemon().Ports()
		up(t, p, ref)
		found, _ := p.Links.List(t.Context())
		_ = p.Links.Remove(t.Context(), found[0])
		_ = p.Links.Release(t.Context(), ref, nics)
		if got := broken(); !slices.Equal(got, []string{"P6", "P7"}) || w.Held("web") {
			t.Errorf("broken: %v", got)
		}
	})
}
