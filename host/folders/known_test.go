package folders

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// next is the record of the incarnation that follows, whose guest had answered or not.
func next(r vm.Record, answered bool) vm.Record {
	r.State.LastExit = &vm.Crash{Failure: vm.Failure{Incarnation: r.State.Incarnation, Ready: answered}}
	r.State.Incarnation++
	return r
}

func TestARightThatIsTakenAwayIsNamedOnceAStartFailed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root may become the VMM's user")
	}
	f := newFolders(t)
	kernel := filepath.Join(f.State, "kernel")
	if err := os.WriteFile(kernel, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := record("web-1", 1)
	r.Spec.Boot.Kernel = kernel
	prepared(t, f, r)
	if err := os.Chmod(kernel, 0o600); err != nil {
		t.Fatal(err)
	}
	up := next(r, true)
	prepared(t, f, up) // its VMM will find out
	wantKind(t, "its start failed", f.Prepare(t.Context(), next(up, false)), host.Broken, kernel, "lacks read permission")

	other := next(r, true)
	other.Spec.Boot.Initrd = kernel
	wantKind(t, "another spec", f.Prepare(t.Context(), other), host.Broken, kernel)
	wantKind(t, "an older incarnation is known", f.Prepare(t.Context(), next(next(r, true), true)), host.Broken, kernel)

	anew, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, "another daemon", anew.Prepare(t.Context(), up), host.Broken, kernel)
}

func TestWhatIsKnownMakesNoDiskMissing(t *testing.T) {
	f := newFolders(t)
	r := record("web-1", 1)
	at := prepared(t, f, r)
	if err := os.Remove(at.Disk("root")); err != nil {
		t.Fatal(err)
	}
	prepared(t, f, next(r, true))
	if s, err := os.Stat(at.Disk("root")); err != nil || vm.Bytes(s.Size()) != 64*vm.MiB {
		t.Errorf("a disk that was removed by hand: %v, %v", s, err)
	}
	if err := f.Discard(t.Context(), r.Ref()); err != nil {
		t.Fatal(err)
	}
	if len(f.known.by) > 0 {
		t.Errorf("a discarded VM is remembered: %v", f.known.by)
	}
}

func TestTheMarkOfARunFolderIsWrittenOver(t *testing.T) {
	f := newFolders(t)
	for _, n := range []vm.Incarnation{9, 10, 123, 7} {
		at := prepared(t, f, record("web-1", n))
		if got := tenantOf(filepath.Dir(at.Run), "web-1"); got != n {
			t.Errorf("made for %d, the mark says %d", n, got)
		}
	}
}
