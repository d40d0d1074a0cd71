package systemd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/launchertest"
)

// unitThatEndsLikeItsShimHasBegun: a VMM may end by any code, those of the shim
// and of systemd too, and what never began is told by the shim's mark.
func unitThatEndsLikeItsShimHasBegun(t *testing.T) {
	w := newWorld(t)
	for i, code := range []int{64, 71, 200, 203, 226, 255} {
		p := w.Launch(w.Sh(i, 1, fmt.Sprintf("exit %d", code)))
		if e := w.Exit(p); !e.Known || e.Code != code || p.PID == 0 {
			t.Errorf("a VMM that exits by %d: process %+v, ended by %+v", code, p, e)
		}
	}
}

// shim puts a script in the place of blixard-vmm.
func (w *world) shim(name, script string) {
	w.T.Helper()
	path := filepath.Join(w.Dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		w.T.Fatal(err)
	}
	_ = w.l.Close()
	w.config.Shim = path
	w.L = w.Open()
}

// unitOfAnotherShimSaysSo: one that isn't of this version, whatever it does.
func unitOfAnotherShimSaysSo(t *testing.T) {
	w := newWorld(t)
	right := w.config.Shim
	for i, c := range []struct {
		script string
		kind   host.Kind
		words  string
	}{
		{"exit 64", host.Broken, "exit code 64 before"},
		{"exit 0", host.Broken, "exit code 0 before"},
		{"exec sleep 600", host.Transient, "has not started it in 5s"},
	} {
		w.shim(fmt.Sprintf("shim-%d", i), c.script)
		began := time.Now()
		_, err := w.l.Launch(t.Context(), w.Sh(i, 1, sleeps))
		launchertest.WantKind(t, c.script, err, c.kind)
		for _, want := range []string{c.words, w.config.Shim, "make install"} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v doesn't say %q", c.script, err, want)
			}
		}
		if took := time.Since(began); c.kind == host.Broken && took > startWithin {
			t.Errorf("%s: told after %v", c.script, took)
		}
		if left := w.units(); len(left) != 0 {
			t.Errorf("%s: left %v", c.script, left)
		}
	}
	_ = w.l.Close()
	w.config.Shim = right
	w.L = w.Open()
	w.Launch(w.Sh(2, 1, sleeps))
}
