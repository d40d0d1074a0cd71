package folders

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func begun(t *testing.T, f *Folders, r vm.Record) host.StateFile {
	t.Helper()
	s, err := f.NewState(t.Context(), r.Ref(), false, vm.MiB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Drop)
	return s
}

func write(t *testing.T, s host.StateFile, text string) {
	t.Helper()
	if _, err := s.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func kept(t *testing.T, s host.StateFile, n vm.Incarnation) vm.SavedState {
	t.Helper()
	saved, err := s.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	saved.Incarnation = n
	return saved
}

func savedIn(t *testing.T, at host.Paths) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(at.Folder, "saved-*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return found
}

// Many guests are written at once: each found room for itself, and none for all.
func TestGuestsThatAreSavedAtOnceLeaveTheReserve(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	left := 2 * dumpPiece
	f.bundles.room = func(string) (vm.Bytes, error) { return left, nil }
	s, err := f.NewState(t.Context(), r.Ref(), true, 4*dumpPiece)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Drop)
	piece := make([]byte, dumpPiece)
	if _, err := s.Write(piece); err != nil {
		t.Fatal(err)
	}
	left = dumpPiece - 1 // others have written
	if _, err := s.Write(piece); host.KindOf(err) != host.Transient || err == nil {
		t.Errorf("beyond what may be written: %v, want Transient", err)
	}
}

func TestASavedGuestIsWholeOrNotThere(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	s := begun(t, f, r)
	write(t, s, "the guest")
	if got := savedIn(t, at); len(got) != 1 || got[0] != "saved-7.state.tmp" {
		t.Fatalf("before it is kept: %v", got)
	}
	saved := kept(t, s, 7)
	s.Drop() // takes nothing back
	if got := savedIn(t, at); len(got) != 1 || got[0] != "saved-7.state" {
		t.Fatalf("once it is kept: %v", got)
	}
	info, err := os.Stat(at.State(7))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("anybody may read a guest's memory: %v, %v", info.Mode(), err)
	}
	if saved.Bytes != 9 || saved.At.IsZero() {
		t.Errorf("kept %+v", saved)
	}
	if err := f.CheckState(t.Context(), r.Ref(), saved); err != nil {
		t.Error(err)
	}
	again, err := f.Kept(t.Context(), r.Ref())
	if err != nil || again.Bytes != saved.Bytes || again.Sum != saved.Sum {
		t.Errorf("found as %+v, %v; kept %+v", again, err, saved)
	}
	begun(t, f, r).Drop() // its guest has run on
	if _, err := f.Kept(t.Context(), r.Ref()); host.KindOf(err) != host.Gone {
		t.Errorf("a guest that ran on is still there: %v", err)
	}
}

func TestWhatIsGivenUpLeavesNothing(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	first := begun(t, f, r)
	write(t, first, "cut")
	second := begun(t, f, r) // a daemon that came after
	write(t, second, "whole")
	if _, err := first.Keep(t.Context()); err == nil {
		t.Error("a try that another one replaced was kept")
	}
	if got := savedIn(t, at); len(got) != 1 {
		t.Fatalf("the first took the second's file with it: %v", got)
	}
	second.Drop()
	second.Drop()
	if got := savedIn(t, at); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestAGuestThatIsTooLargeIsNotSaved(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	s := begun(t, f, r)
	write(t, s, string(make([]byte, vm.MiB)))
	_, err := s.Write([]byte{1})
	wantKind(t, "a byte too many", err, host.Broken, "more than a guest of this size has")
	_, err = f.NewState(t.Context(), r.Ref(), false, 1<<60)
	wantKind(t, "a guest larger than the disk", err, host.Transient, "no room", "stay free")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Keep(ctx); err == nil {
		t.Error("it was kept after it was given up")
	}
}

func TestASavedGuestThatWasTouchedIsRefused(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	s := begun(t, f, r)
	write(t, s, "the guest")
	saved := kept(t, s, 7)
	path := at.State(7)
	for story, spoil := range map[string]func() error{
		"shorter": func() error { return os.WriteFile(path, []byte("the gue"), 0o600) },
		"longer":  func() error { return os.WriteFile(path, []byte("the guest!"), 0o600) },
		"another": func() error { return os.WriteFile(path, []byte("the ghost"), 0o600) },
		"a link": func() error {
			if err := os.WriteFile(path+".away", []byte("the guest"), 0o600); err != nil {
				return err
			}
			_ = os.Remove(path)
			return os.Symlink(path+".away", path)
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if err := f.CheckState(t.Context(), r.Ref(), saved); err == nil || host.KindOf(err) != host.Broken {
			t.Errorf("%s: %v", story, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "gone", f.CheckState(t.Context(), r.Ref(), saved), host.Broken, "does not exist")
}

func TestDropStatesKeepsWhatTheRecordNames(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	put := func() {
		for _, name := range []string{"saved-5.state", "saved-6.state", "saved-6.state.tmp", "saved-7.state", "saved-7.state.tmp", "saved-8.state", "saved-x.state", "saved-07.state"} {
			if err := os.WriteFile(filepath.Join(at.Folder, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, one := range []struct {
		phase vm.Phase
		saved *vm.SavedState
		want  int
	}{
		{vm.Starting, &vm.SavedState{Incarnation: 6}, 6}, // 6, 7 and its try, 8, x, 07
		{vm.Running, nil, 5},
		{vm.Suspended, &vm.SavedState{Incarnation: 7}, 4},
		{vm.Stopped, nil, 3},
	} {
		put()
		r.State.Phase, r.State.Saved = one.phase, one.saved
		for range 2 {
			if err := f.DropStates(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if got := savedIn(t, at); len(got) != one.want {
			t.Errorf("%s with %+v left %v", one.phase, one.saved, got)
		}
	}
	if err := f.DropStates(t.Context(), record("none", 3)); err != nil {
		t.Errorf("nothing to drop: %v", err)
	}
}
