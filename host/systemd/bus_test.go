package systemd

import (
	"testing"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"

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
	if _, left := w.l.bus.heeding[p.Unit]; left {
		t.Error("it is waited for still")
	}
}

// TestALostNoticeWakesAll, since it may have been anybody's.
func TestALostNoticeWakesAll(t *testing.T) {
	b := &bus{heeding: map[string]map[chan struct{}]bool{}}
	one, oneDone := b.heed("a.service")
	two, twoDone := b.heed("b.service")
	updates, lost := make(chan *sd.PropertiesUpdate), make(chan error)
	go b.spread(t.Context().Done(), updates, lost)
	updates <- &sd.PropertiesUpdate{UnitName: "a.service"}
	<-one
	lost <- errAway
	<-one
	<-two
	for range 3 {
		updates <- &sd.PropertiesUpdate{UnitName: "b.service"} // nobody takes them meanwhile
	}
	<-two
	oneDone()
	twoDone()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.heeding) != 0 {
		t.Errorf("left %v", b.heeding)
	}
}
