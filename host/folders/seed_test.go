package folders

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func seeded(user string) vm.Record {
	r := record("web", 1)
	r.Spec.Seed = vm.Seed{UserData: user}
	return r
}

// A VM's seed is made once for what it says: what runs on it is not disturbed,
// and a spec that says something else finds another one at the next start.
func TestASeedIsMadeAndFollowsItsSpec(t *testing.T) {
	t.Parallel()
	f := newFolders(t)
	at := prepared(t, f, seeded("first"))
	was, err := os.Stat(at.Seed())
	if err != nil {
		t.Fatal(err)
	}
	if was.Mode() != 0o640 {
		t.Errorf("mode %v; the VMM may read it, and only its owner write", was.Mode())
	}
	prepared(t, f, seeded("first"))
	if is, err := os.Stat(at.Seed()); err != nil || !os.SameFile(was, is) {
		t.Errorf("it was made anew for the same spec (%v)", err)
	}
	prepared(t, f, seeded("second"))
	if b, err := os.ReadFile(at.Seed()); err != nil || !bytes.Contains(b, []byte("second")) || bytes.Contains(b, []byte("first")) {
		t.Errorf("the seed is not what its spec says (%v)", err)
	}
	prepared(t, f, record("web", 2))
	if _, err := os.Lstat(at.Seed()); !os.IsNotExist(err) {
		t.Errorf("the seed of a spec without one: %v", err)
	}
}

// A daemon that ended in the midst of it, or lost power, leaves nothing that counts.
func TestACutSeedIsMadeAnew(t *testing.T) {
	t.Parallel()
	f := newFolders(t)
	at := prepared(t, f, seeded("whole"))
	for _, name := range []string{at.Seed(), at.Seed() + ".new"} {
		if err := os.WriteFile(name, []byte("cut"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	prepared(t, next, seeded("whole"))
	if b, err := os.ReadFile(at.Seed()); err != nil || !bytes.Contains(b, []byte("whole")) {
		t.Errorf("want a whole seed, got %d bytes (%v)", len(b), err)
	}
	if err := os.Remove(at.Seed()); err != nil {
		t.Fatal(err)
	}
	prepared(t, next, seeded("whole"))
	if _, err := os.Stat(at.Seed()); err != nil {
		t.Errorf("what somebody removed is made anew: %v", err)
	}
	left, err := filepath.Glob(at.Seed() + "?*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A link in its place leads nowhere that we would write.
func TestASeedFollowsNoLink(t *testing.T) {
	t.Parallel()
	f := newFolders(t)
	at := prepared(t, f, record("web", 1))
	victim := filepath.Join(f.State, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{at.Seed(), at.Seed() + ".new"} {
		if err := os.Symlink(victim, name); err != nil {
			t.Fatal(err)
		}
	}
	prepared(t, f, seeded("new"))
	if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
		t.Errorf("it was written through a link: %q (%v)", b, err)
	}
	if is, err := os.Lstat(at.Seed()); err != nil || !is.Mode().IsRegular() {
		t.Errorf("want a file, got %v (%v)", is, err)
	}
}

func TestASeedThatCantBeMadeIsRefused(t *testing.T) {
	t.Parallel()
	r := record("web", 1)
	r.Spec.Seed.SSHKeys = []string{"two\nlines"}
	wantKind(t, "a key of two lines", newFolders(t).Prepare(t.Context(), r), host.Broken, "sshKeys[0]", "control character")
}
