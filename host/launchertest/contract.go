package launchertest

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// clauses are what every launcher keeps, whatever it makes of a VMM.
var clauses = map[string]func(w *World){
	"NeverTwoForOneVM":                neverTwoForOneVM,
	"KilledIsFinal":                   killedIsFinal,
	"OrphansAreAdopted":               orphansAreAdopted,
	"TheEndIsToldOnceWithItsCode":     theEndIsToldOnceWithItsCode,
	"CancelLeavesTheProcessAlone":     cancelLeavesTheProcessAlone,
	"WhatCannotBeLaunchedSaysWhy":     whatCannotBeLaunchedSaysWhy,
	"AChildOfAVMMIsNotTheVMM":         aChildOfAVMMIsNotTheVMM,
	"SocketsAreInheritedListening":    socketsAreInheritedListening,
	"AFullFileIsAnErrorAndNotADeath":  aFullFileIsAnErrorAndNotADeath,
	"VerdictsAreOfTheirIncarnation":   verdictsAreOfTheirIncarnation,
	"ForgedTagsOfACommandAreNotTaken": forgedTagsOfACommandAreNotTaken,
	"WhatLeaksDiesOfItsOwnLimit":      whatLeaksDiesOfItsOwnLimit,
	"LimitsOutliveTheDaemon":          limitsOutliveTheDaemon,
	"AForkBombIsBounded":              aForkBombIsBounded,
	"AQuotaHolds":                     aQuotaHolds,
	"AWeightIsAShare":                 aWeightIsAShare,
	"ACoreIsLeftWhereItWasAskedFor":   aCoreIsLeftWhereItWasAskedFor,
}

// Contract runs all of it, each clause in a world of its own.
func Contract(t *testing.T, newWorld func(t *testing.T) *World) {
	for _, name := range slices.Sorted(maps.Keys(clauses)) {
		t.Run(name, func(t *testing.T) { clauses[name](newWorld(t)) })
	}
}

func neverTwoForOneVM(w *World) {
	t := w.T
	var wg sync.WaitGroup
	got := make([]vm.Process, 8)
	for i := range got {
		wg.Go(func() {
			p, err := w.L.Launch(t.Context(), w.Sh(1, 1, Sleeps))
			if err != nil {
				t.Error(err)
			}
			got[i] = p
		})
	}
	wg.Wait()
	for _, p := range got {
		if p != got[0] {
			t.Errorf("P1: %+v and %+v", p, got[0])
		}
	}
	found, err := w.L.List(t.Context())
	if err != nil || len(found) != 1 || found[0].Process != got[0] || found[0].Ref != w.Ref(1, 1) {
		t.Errorf("P1: listed %+v, %v", found, err)
	}
	_, err = w.L.Launch(t.Context(), w.Sh(1, 2, Sleeps))
	WantKind(t, "P1: the next incarnation while this one lives", err, host.Transient)
	w.Restart()
	if p := w.Launch(w.Sh(1, 1, Sleeps)); p != got[0] {
		t.Errorf("P1: after a restart of the daemon %+v, before %+v", p, got[0])
	}
	w.Restart()
	_, err = w.L.Launch(t.Context(), w.Sh(1, 2, Sleeps))
	WantKind(t, "P1: the next incarnation while this one lives, after a restart", err, host.Transient)
}

func killedIsFinal(w *World) {
	t := w.T
	for i := range 15 {
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := w.L.Launch(t.Context(), w.Sh(i, 1, Sleeps)); err != nil && host.KindOf(err) != host.Gone {
					t.Error(err)
				}
			})
			wg.Go(func() {
				if err := w.L.Kill(t.Context(), w.Ref(i, 1), nil); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, err := w.L.Launch(t.Context(), w.Sh(i, 1, Sleeps))
		WantKind(t, "a launch after the kill", err, host.Gone)
	}
	if found, err := w.L.List(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("P7: a kill left %+v, %v", found, err)
	}
	w.Launch(w.Sh(1, 2, Sleeps))
	if w.Kept != nil && len(w.Kept()) != 1 {
		t.Errorf("P7: kills left %v", w.Kept())
	}
}

func orphansAreAdopted(w *World) {
	t := w.T
	old := w.Orphans(w.Sh(1, 4, Sleeps), w.Sh(2, 1, Sleeps))
	p, err := w.L.Find(t.Context(), w.Ref(1, 4), &old[0])
	if err != nil || p != old[0] {
		t.Fatalf("by its record: %+v, %v, want %+v", p, err, old[0])
	}
	q, err := w.L.Find(t.Context(), w.Ref(2, 1), nil)
	if err != nil || q != old[1] {
		t.Fatalf("by its tags: %+v, %v, want %+v", q, err, old[1])
	}
	_, err = w.L.Find(t.Context(), w.Ref(1, 3), &old[0])
	WantKind(t, "an earlier incarnation", err, host.Gone)
	again, err := w.L.Launch(t.Context(), w.Sh(1, 4, Sleeps))
	if err != nil || again != p {
		t.Errorf("P1: launched once more: %+v, %v", again, err)
	}
	ended := make(chan vm.Exit, 2)
	w.L.Watch(p, func(e vm.Exit) { ended <- e })
	Kill9(t, p.PID)
	if e := w.Wait(p, ended); !e.Known || e.Signal != 9 {
		t.Errorf("the end of an orphan: %+v", e)
	}
	if err := w.L.Kill(t.Context(), w.Ref(2, 1), &old[1]); err != nil || Alive(q) {
		t.Errorf("killing an orphan: %v, alive %v", err, Alive(q))
	}
}

func theEndIsToldOnceWithItsCode(w *World) {
	t := w.T
	for i, code := range []int{0, 3, 64, 71, 203} {
		p := w.Launch(w.Sh(i, 1, fmt.Sprintf("exit %d", code)))
		for range 2 { // the second asks long after the end
			if e := w.Exit(p); !e.Known || e.Code != code || e.Signal != 0 || p.PID == 0 {
				t.Errorf("exit %+v of %+v", e, p)
			}
		}
		if Alive(p) {
			t.Errorf("it lives: %+v", p)
		}
		if err := w.L.Kill(t.Context(), w.Ref(i, 1), &p); err != nil {
			t.Errorf("killing what is gone: %v", err)
		}
	}
}

func cancelLeavesTheProcessAlone(w *World) {
	t := w.T
	p := w.Launch(w.Sh(1, 1, Sleeps))
	cancelled := make(chan vm.Exit, 1)
	cancel := w.L.Watch(p, func(e vm.Exit) { cancelled <- e })
	cancel()
	cancel()
	if !Alive(p) {
		t.Fatal("P6: the end of a watch was the end of a VMM")
	}
	Kill9(t, p.PID)
	w.Exit(p)
	if len(cancelled) != 0 {
		t.Errorf("a cancelled watch was told %+v", <-cancelled)
	}
}

func whatCannotBeLaunchedSaysWhy(w *World) {
	t := w.T
	precious := filepath.Join(w.Dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for story, bend := range map[string]func(*host.Command){
		"socket path too long": func(c *host.Command) {
			c.Sockets = []host.Socket{{Name: "qmp", Path: "/tmp/" + strings.Repeat("x", 120)}}
		},
		"a file where the socket goes":  func(c *host.Command) { c.Sockets = []host.Socket{{Name: "qmp", Path: precious}} },
		"no such program":               func(c *host.Command) { c.Argv = []string{"/usr/bin/no-such-vmm"} },
		"relative program":              func(c *host.Command) { c.Argv[0] = "sh" },
		"a descriptor that isn't made":  func(c *host.Command) { c.Argv = append(c.Argv, "{fd:qmp}") },
		"no run folder":                 func(c *host.Command) { c.Dir = filepath.Join(w.Dir, "none") },
		"another boot":                  func(c *host.Command) { c.Ref.BootID = "another" },
		"as root, where the daemon is":  func(c *host.Command) { c.UID, c.GID = 0, 0 },
		"a VM without an incarnation":   func(c *host.Command) { c.Ref.Incarnation = 0 },
		"two descriptors with one name": func(c *host.Command) { c.Taps = []host.Tap{{Name: "a"}, {Name: "a"}} },
	} {
		if os.Geteuid() != 0 && strings.HasPrefix(story, "as root") {
			continue
		}
		c := w.Sh(1, 1, Sleeps)
		bend(&c)
		p, err := w.L.Launch(t.Context(), c)
		WantKind(t, story, err, host.Broken)
		if p.PID != 0 {
			t.Errorf("%s: process %d", story, p.PID)
		}
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "x" {
		t.Errorf("the file in the socket's place was changed: %q, %v", b, err)
	}
	w.Launch(w.Sh(1, 1, Sleeps)) // and none of it stands in the way
}

func aChildOfAVMMIsNotTheVMM(w *World) {
	t := w.T
	c := w.Sh(1, 1, `sleep 600 & echo "child $!" >&2; wait`)
	p := w.Launch(c)
	saw := w.Says(c, "child ")
	w.Restart()
	found, err := w.L.List(t.Context())
	if err != nil || len(found) != 1 || found[0].Process != p {
		t.Errorf("listed %+v, %v, want only %+v and not its %s", found, err, p, saw)
	}
	if err := w.L.Kill(t.Context(), c.Ref, &p); err != nil {
		t.Error(err)
	}
	child := 0
	if _, err := fmt.Sscanf(saw, "child %d", &child); err == nil && w.L.Name() == "process" { // a unit takes all with it
		Kill9(t, child)
	}
}

func socketsAreInheritedListening(w *World) {
	t := w.T
	c := w.Sh(1, 1, `readlink /proc/$$/fd/$1 /proc/$$/fd/$2 >&2; echo listed >&2; exec sleep 600`, "{fd:qmp}", "{fd:agent}")
	c.Sockets = []host.Socket{
		{Name: "qmp", Path: filepath.Join(w.Dir, "q.sock")}, {Name: "agent", Path: filepath.Join(w.Dir, "a.sock")},
	}
	stale, err := net.Listen("unix", c.Sockets[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // what Listen on unix returns
	_ = stale.Close()
	p := w.Launch(c)
	if n := strings.Count(w.Says(c, "listed"), "socket:"); n != 2 {
		t.Errorf("the VMM found %d sockets: %q", n, w.Stderr(c))
	}
	for _, s := range c.Sockets {
		conn, err := net.Dial("unix", s.Path)
		if err != nil {
			t.Fatalf("the VMM doesn't listen on %s: %v", s.Name, err)
		}
		_ = conn.Close()
	}
	Kill9(t, p.PID)
	w.Exit(p)
	for _, s := range c.Sockets {
		if conn, err := net.Dial("unix", s.Path); err == nil {
			_ = conn.Close()
			t.Errorf("%s still listens after the end of its VMM: we kept a copy", s.Name)
		}
	}
}

func aFullFileIsAnErrorAndNotADeath(w *World) {
	t := w.T
	c := w.Sh(1, 1, `until grep -q "Max file size  *262144 " /proc/$$/limits; do :; done; dd if=/dev/zero bs=64k count=64 >&2; echo "dd ended with $?"; exit 7`)
	c.MaxFile = 256 << 10
	if e := w.Exit(w.Launch(c)); !e.Known || e.Signal != 0 || e.Code != 7 {
		t.Errorf("P15: it ended by %+v", e)
	}
	if n := len(w.Stderr(c)); n > 256<<10 {
		t.Errorf("P15: its log has %d bytes", n)
	}
}

func verdictsAreOfTheirIncarnation(w *World) {
	t := w.T
	p := w.Launch(w.Sh(1, 1, "exit 7"))
	w.Exit(p)
	for range 2 {
		if e, err := w.L.Verdict(t.Context(), w.Ref(1, 1), &p); err != nil || !e.Known || e.Code != 7 || e.At.IsZero() {
			t.Errorf("verdict %+v, %v", e, err)
		}
	}
	_, err := w.L.Verdict(t.Context(), w.Ref(1, 2), nil)
	WantKind(t, "the verdict of an incarnation that never was", err, host.Gone)
	stranger := w.Ref(1, 1)
	stranger.VM = "00000000000000ff"
	_, err = w.L.Verdict(t.Context(), stranger, nil)
	WantKind(t, "the verdict of another VM of that name", err, host.Gone)
}

func forgedTagsOfACommandAreNotTaken(w *World) {
	t := w.T
	c := w.Sh(1, 3, `env >&2; echo all >&2; exec sleep 600`)
	c.Env = append(c.Env, "BLIXARD_VM=forged", "BLIXARD_INCARNATION=9", "OTHER=kept")
	p := w.Launch(c)
	if saw := w.Says(c, "all\n"); strings.Contains(saw, "forged") || !strings.Contains(saw, "OTHER=kept") {
		t.Errorf("it runs with %s", saw)
	}
	w.Restart()
	if found, err := w.L.List(t.Context()); err != nil || len(found) != 1 || found[0].Ref != c.Ref || found[0].Process != p {
		t.Errorf("listed %+v, %v", found, err)
	}
}
