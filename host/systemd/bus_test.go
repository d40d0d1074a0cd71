package systemd

import (
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/blixard/blixard/host/launchertest"
)

// unitChangesAreTold: nobody polls for what systemd tells by itself, and nobody
// is remembered who has stopped to wait.
func unitChangesAreTold(t *testing.T) {
	w := newWorld(t)
	p := w.Launch(w.Sh(1, 1, sleeps))
	changed, done := w.l.bus.heed(p.Unit)
	other, otherDone := w.l.bus.heed("blixard-other.service")
	defer otherDone()
	select { // what its start may still be telling
	case <-changed:
	case <-time.After(jobLook):
	}
	launchertest.Kill9(t, p.PID)
	select {
	case <-changed:
	case <-time.After(patience):
		t.Fatal("systemd told nothing of the end of a unit")
	}
	w.Exit(p)
	if len(other) != 0 {
		t.Error("another unit was told of")
	}
	done()
	w.l.bus.mu.Lock()
	defer w.l.bus.mu.Unlock()
	if _, left := w.l.bus.heeding[pathOf(p.Unit)]; left {
		t.Error("it is waited for still")
	}
}

// TestAChangeWakesWhoeverWaitsForThatUnit, and nobody else; more changes than
// are looked at are one.
func TestAChangeWakesWhoeverWaitsForThatUnit(t *testing.T) {
	b := &bus{heeding: map[dbus.ObjectPath]map[chan struct{}]bool{}}
	one, oneDone := b.heed("blixard-a.service")
	two, twoDone := b.heed("blixard-b.service")
	told, ended := make(chan *dbus.Signal), make(chan struct{})
	go func() {
		defer close(ended)
		b.spread(told)
	}()
	const changed = "org.freedesktop.DBus.Properties.PropertiesChanged"
	for range 3 {
		told <- &dbus.Signal{Path: "/org/freedesktop/systemd1/unit/blixard_2da_2eservice", Name: changed}
	}
	told <- &dbus.Signal{Path: "/org/freedesktop/systemd1/unit/blixard_2db_2eservice", Name: "org.freedesktop.systemd1.Manager.UnitNew"}
	close(told)
	<-ended
	if len(one) != 1 || len(two) != 0 {
		t.Errorf("told %d and %d times", len(one), len(two))
	}
	oneDone()
	twoDone()
	if len(b.heeding) != 0 {
		t.Errorf("left %v", b.heeding)
	}
}
