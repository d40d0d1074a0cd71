package qemu

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// needsACPI makes a PVH guest's machine one with devices, by asking for an agent.
func needsACPI(s *vm.Spec) { s.Health = []vm.Check{{Type: vm.CheckAgent}} }

func TestPoweredOffGuestLeavesAStandingVMM(t *testing.T) {
	g := start(t, PVHGuestThat(PVHPowersOff), needsACPI)
	first, notices := g.attach()
	// The guest may have been faster than we: then the state says it, and no notice comes.
	if state, err := first.State(deadline(t)); err != nil {
		t.Fatal(err)
	} else if state == host.GuestRuns {
		g.hear(notices, host.NoticePowerOff)
	}
	g.wantState(first, host.GuestOff)
	first.Close()

	again, _ := g.attach() // a daemon that was down
	g.wantState(again, host.GuestOff)
	if err := again.Resume(deadline(t)); host.KindOf(err) != host.Broken || err == nil {
		t.Errorf("resume of a guest that is off: %v, want a Broken failure", err)
	}
	if err := again.Quit(deadline(t)); err != nil {
		t.Fatalf("quit: %v", err)
	}
	g.waitEnd()
	if err := again.Quit(deadline(t)); err != nil {
		t.Errorf("the second quit is no success: %v", err)
	}
}

func TestPanickedGuestIsNoticed(t *testing.T) {
	g := start(t, PVHGuestThat(PVHPanics), needsACPI)
	s, notices := g.attach()
	if state, _ := s.State(deadline(t)); state == host.GuestRuns {
		g.hear(notices, host.NoticePanic)
	}
	g.wantState(s, host.GuestPanicked)
}

func TestGuestResetsInPlace(t *testing.T) {
	g := start(t, PVHGuestThat(PVHResets), nil)
	s, notices := g.attach()
	g.hear(notices, host.NoticeReset)
	g.hear(notices, host.NoticeReset)
	g.wantState(s, host.GuestRuns)
	g.wantConsole(PVHMark + PVHMark) // it really booted again
}

func TestResetBootsAgainInPlace(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	g.wantLog(PVHMark)
	s, notices := g.attach()
	for boots := 2; boots < 4; boots++ { // repeating resets again
		if err := s.Reset(deadline(t)); err != nil {
			t.Fatal(err)
		}
		g.wantState(s, host.GuestRuns)
		g.wantLog(strings.Repeat(PVHMark, boots))
	}
	if err := s.Pause(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Reset(deadline(t)); err != nil {
		t.Fatalf("reset of a paused machine: %v", err)
	}
	g.wantState(s, host.GuestRuns)
	if len(notices) != 0 {
		t.Errorf("our own reset was told as %v", <-notices)
	}
}

// A panicked guest stands in its VMM, and boots again by a reset.
func TestPanickedGuestIsReset(t *testing.T) {
	g := start(t, PVHGuestThat(PVHPanics), needsACPI)
	s, notices := g.attach()
	if state, _ := s.State(deadline(t)); state == host.GuestRuns {
		g.hear(notices, host.NoticePanic)
	}
	g.wantState(s, host.GuestPanicked)
	g.wantLog(PVHMark)
	if err := s.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	g.wantLog(PVHMark + PVHMark)
	g.hear(notices, host.NoticePanic) // it does it again
	g.wantState(s, host.GuestPanicked)
}

func TestResetOfADeadVMMIsGone(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	s, notices := g.attach()
	if err := g.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.hear(notices, host.NoticeLost)
	if err := s.Reset(deadline(t)); host.KindOf(err) != host.Gone {
		t.Errorf("reset of a dead VMM: %v, want Gone", err)
	}
}

func TestPauseResumeAndAdoption(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	s, notices := g.attach()
	for range 2 { // repeating is safe
		if err := s.Pause(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	g.wantState(s, host.GuestPaused)
	s.Close()
	adopted, _ := g.attach()
	g.wantState(adopted, host.GuestPaused)
	for range 2 {
		if err := adopted.Resume(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	g.wantState(adopted, host.GuestRuns)
	if len(notices) != 0 {
		t.Errorf("a closed session told %v", <-notices)
	}
}

func TestKilledVMMIsLost(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	s, notices := g.attach()
	if err := g.process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	g.hear(notices, host.NoticeLost)
	if _, err := s.State(deadline(t)); host.KindOf(err) != host.Gone {
		t.Errorf("state of a dead VMM: %v, want Gone", err)
	}
	g.waitEnd()
	if _, err := g.driver.Attach(deadline(t), vm.Spec{}, g.paths, func(host.Notice) {}); host.KindOf(err) != host.Gone {
		t.Errorf("attach to a dead VMM: %v, want Gone", err)
	}
}

// TestSecondSessionWaits: QEMU serves one session, so that a second one ends by its own deadline.
func TestSecondSessionWaits(t *testing.T) {
	g := start(t, PVHGuest(), nil)
	g.attach()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := g.driver.Attach(ctx, vm.Spec{}, g.paths, func(host.Notice) {}); host.KindOf(err) != host.Transient {
		t.Errorf("second session: %v, want Transient", err)
	}
}

func TestConsoleGoesToItsFileAndSurvivesAFlood(t *testing.T) {
	g := start(t, PVHGuestThat(PVHFloods), nil)
	s, _ := g.attach()
	g.wantConsole("xxxxxxxxxxxxxxxx")
	g.wantState(s, host.GuestRuns)
	log, err := os.ReadFile(g.paths.Log)
	if err != nil || !strings.HasPrefix(string(log), PVHMark+"xxx") {
		t.Errorf("log begins with %.40q (%v)", log, err)
	}
}

// TestQEMUTakesEveryOption starts a machine with every device that Args knows.
func TestQEMUTakesEveryOption(t *testing.T) {
	everything := func(s *vm.Spec) {
		s.CPUs, s.Memory = 2, 64*vm.MiB+4*vm.KiB
		s.Disks = []vm.Disk{{Name: "data", Size: vm.MiB}, {Name: "a-very-long-name-of-a-disk", Size: vm.MiB, ReadOnly: true}}
		s.Networks = []vm.Network{{Mode: "user"}, {Mode: "user", MAC: "52:54:00:12:34:56"}}
		s.Health = []vm.Check{{Type: vm.CheckAgent}}
	}
	t.Run("microvm", func(t *testing.T) {
		g := start(t, PVHGuest(), everything)
		g.wantLog(PVHMark)
		s, _ := g.attach()
		g.wantState(s, host.GuestRuns)
		if err := s.PowerDown(deadline(t)); err != nil {
			t.Errorf("power down: %v", err)
		}
	})
	t.Run("q35", func(t *testing.T) {
		disk := shortDir(t) + `/a,b"c.img`
		if err := os.WriteFile(disk, make([]byte, vm.MiB), 0o600); err != nil {
			t.Fatal(err)
		}
		g := start(t, nil, func(s *vm.Spec) { everything(s); s.Boot.Disk = disk })
		s, _ := g.attach()
		g.wantState(s, host.GuestRuns)
		if err := s.PowerDown(deadline(t)); err != nil {
			t.Errorf("power down: %v", err)
		}
	})
}

// TestPingWaitsForTheAgentWithoutPolling: a guest whose agent never opens its port leaves a ping
// to its own deadline, and however many pings come, one request lies in the socket.
func TestPingWaitsForTheAgentWithoutPolling(t *testing.T) {
	g := start(t, PVHGuest(), needsACPI)
	g.wantLog(PVHMark)
	conn, err := Agent{}.Open(deadline(t), g.paths)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := conn.(*agentConn).last
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if err := conn.Ping(ctx); host.KindOf(err) != host.Transient || err == nil {
			t.Errorf("ping of a guest without agent: %v, want Transient", err)
		}
		cancel()
	}
	if sent := conn.(*agentConn).last - before; sent != 1 {
		t.Errorf("%d requests were written, want 1", sent)
	}
}
