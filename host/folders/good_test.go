package folders

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func goodIn(t *testing.T, at host.Paths) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(at.Folder, "good-*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

// A known-good state and a suspended guest of one incarnation are two files, of
// which neither is ever taken for the other.
func TestAKnownGoodStateHasAFileOfItsOwn(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	one, err := f.NewState(t.Context(), r.Ref(), true, vm.MiB)
	if err != nil {
		t.Fatal(err)
	}
	write(t, one, "healthy")
	good := kept(t, one, 7)
	if got := goodIn(t, at); !good.Good || !slices.Equal(got, []string{"good-7.state"}) || at.Saved(good) != filepath.Join(at.Folder, "good-7.state") {
		t.Fatalf("kept %+v as %v", good, got)
	}
	if _, err := f.Kept(t.Context(), r.Ref()); host.KindOf(err) != host.Gone {
		t.Errorf("it is taken for a suspended guest: %v", err)
	}
	two := begun(t, f, r)
	write(t, two, "suspended")
	saved := kept(t, two, 7)
	for _, s := range []vm.SavedState{good, saved} {
		if err := errors.Join(f.HasState(r.Ref(), s), f.CheckState(t.Context(), r.Ref(), s)); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	// Its guest runs on when it is kept, so a suspended one of that incarnation is out of date.
	again, err := f.NewState(t.Context(), r.Ref(), true, vm.MiB)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Drop()
	if err := f.CheckState(t.Context(), r.Ref(), saved); host.KindOf(err) != host.Broken {
		t.Errorf("a guest that ran on can be resumed: %v", err)
	}
	if err := f.CheckState(t.Context(), r.Ref(), good); err != nil {
		t.Errorf("the one that is there is gone before the next is whole: %v", err)
	}
}

func TestAnAskThatIsOverTouchesNothing(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	s := begun(t, f, r)
	write(t, s, "suspended")
	kept(t, s, 7)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.NewState(ctx, r.Ref(), true, vm.MiB); err == nil {
		t.Error("a file was begun for nobody")
	}
	if got := savedIn(t, at); !slices.Equal(got, []string{"saved-7.state"}) {
		t.Errorf("left: %v", got)
	}
}

func TestOnlyTheKnownGoodStateThatIsNamedStays(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	for _, one := range []struct {
		phase vm.Phase
		good  *vm.SavedState
		want  []string
	}{
		{vm.Running, &vm.SavedState{Incarnation: 6}, []string{"good-6.state", "good-7.state", "good-7.state.tmp", "good-x.state"}},
		{vm.Running, &vm.SavedState{Incarnation: 7}, []string{"good-7.state", "good-7.state.tmp", "good-x.state"}},
		{vm.Failed, &vm.SavedState{Incarnation: 7}, []string{"good-7.state", "good-x.state"}},
		{vm.Stopped, nil, []string{"good-x.state"}},
	} {
		for _, name := range []string{"good-5.state", "good-6.state", "good-6.state.tmp", "good-7.state", "good-7.state.tmp", "good-x.state", "saved-6.state"} {
			if err := os.WriteFile(filepath.Join(at.Folder, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		r.State.Phase, r.State.Good = one.phase, one.good
		if err := f.DropStates(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if got := goodIn(t, at); !slices.Equal(got, one.want) {
			t.Errorf("%s with %+v: %v, want %v", one.phase, one.good, got, one.want)
		}
		if got := savedIn(t, at); len(got) != 0 {
			t.Errorf("named as a known-good state, and %v stays", got)
		}
	}
	found, err := f.List(t.Context())
	if err != nil || len(found) != 1 || len(found[0].Saved)+len(found[0].Good) != 0 {
		t.Errorf("found %+v, %v", found, err)
	}
}

// It is found out before a VMM is launched for it.
func TestAStateThatIsNotThereIsFoundOutCheaply(t *testing.T) {
	for _, one := range []struct {
		name  string
		spoil func(path string) error
		want  string
	}{
		{"cut short", func(path string) error { return os.Truncate(path, 1) }, "isn't what was written"},
		{"gone", os.Remove, "does not exist"},
		{"a folder", func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, "isn't what was written"},
		{"a link", func(path string) error { return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path)) }, "isn't what was written"},
	} {
		f, r := newFolders(t), record("web", 7)
		at := prepared(t, f, r)
		file, err := f.NewState(t.Context(), r.Ref(), true, vm.MiB)
		if err != nil {
			t.Fatal(err)
		}
		write(t, file, "healthy")
		good := kept(t, file, 7)
		if err := f.HasState(r.Ref(), good); err != nil {
			t.Fatal(err)
		}
		if err := one.spoil(at.Saved(good)); err != nil {
			t.Fatal(err)
		}
		wantKind(t, one.name, f.HasState(r.Ref(), good), host.Broken, one.want)
	}
}
