package persistence

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func stateOptions(t *testing.T, state string) Options {
	return Options{
		Witness: filepath.Join(state, "witness.json"), Node: "node-a",
		Fatal: func(m string) { t.Errorf("the process would have ended: %s", m) },
	}
}

func openIn(t *testing.T, state string) *Pebble {
	t.Helper()
	p, err := Open(filepath.Join(state, "store"), stateOptions(t, state))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestWitnessLearnsTheNodeThatOpenDidNotKnow(t *testing.T) {
	o := stateOptions(t, t.TempDir())
	o.Node = ""
	p, err := Open(filepath.Join(filepath.Dir(o.Witness), "store"), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Belong("node-a"); err != nil {
		t.Fatal(err)
	}
	if w, err := ReadWitness(o.Witness); err != nil || w.Node != "node-a" {
		t.Errorf("%+v, %v: want node-a in it at once", w, err)
	}
}

func TestWitnessTellsALostAndAnOlderStoreFromAFirstStart(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "store")
	wantKind := func(story string, want Trouble, o Options) {
		t.Helper()
		_, err := Open(dir, o)
		if u, ok := errors.AsType[*Unusable](err); !ok || u.Kind != want {
			t.Errorf("%s: %v, want %s", story, err, want)
		}
	}
	o := stateOptions(t, state)
	p := openIn(t, state) // a first start: neither is there
	first, err := ReadWitness(o.Witness)
	if err != nil || first.Store == "" || first.Node != "node-a" || first.Sequence != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	note := func() {
		t.Helper()
		if _, err := p.Note(vm.Entry{Kind: "K"}); err != nil {
			t.Fatal(err)
		}
	}
	note()
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 0 {
		t.Errorf("a commit wrote the witness: %+v, %v", w, err)
	}
	if err := p.Witness(); err != nil {
		t.Fatal(err)
	}
	note()
	_ = p.Close()
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 2 || w.Store != first.Store {
		t.Errorf("after the end: %+v, %v", w, err)
	}

	backup := state + ".backup"
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	p = openIn(t, state)
	note()
	_ = p.Close()
	replace := func(with string) {
		t.Helper()
		if _, err := SetAside(dir, time.Now()); err != nil {
			t.Fatal(err)
		}
		if with != "" {
			if err := os.CopyFS(dir, os.DirFS(with)); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(backup)
	wantKind("a backup was put back", Older, o)
	other := o
	other.Node = "node-b"
	wantKind("another node's", Foreign, other)
	replace("")
	wantKind("the folder is gone", Missing, o)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the missing folder was made: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	wantKind("the folder is empty", Missing, o)
	stranger := filepath.Join(t.TempDir(), "store")
	q, err := Open(stranger, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		_, _ = q.Note(vm.Entry{Kind: "K"})
	}
	_ = q.Close()
	replace(stranger)
	wantKind("another store", Foreign, o)
	if err := os.WriteFile(o.Witness, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	replace("")
	wantKind("the witness can't be read, the folder is gone", Missing, o)
	if err := os.CopyFS(dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	openIn(t, state) // the witness can't be read, and the store can
	if w, err := ReadWitness(o.Witness); err != nil || w.Sequence != 2 || w.Store != first.Store {
		t.Errorf("the witness was not written anew: %+v, %v", w, err)
	}
}
