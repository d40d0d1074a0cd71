package inherit

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

func TestAFileIsInheritedForReading(t *testing.T) {
	dir := folder(t)
	path := filepath.Join(dir, "saved")
	if err := os.WriteFile(path, []byte("guest"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := host.Command{
		Argv: []string{"/bin/x", "fd:{fd:saved}", "{fd:qmp}"}, Sockets: []host.Socket{{Name: "qmp", Path: filepath.Join(dir, "q")}},
		Files: []host.File{{Name: "saved", Path: path}},
	}
	if err := Check(c); err != nil {
		t.Fatal(err)
	}
	s, err := Open(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := []string{"/bin/x", "fd:4", "3"}; !slices.Equal(s.Argv, want) {
		t.Errorf("argv %q, want %q", s.Argv, want)
	}
	b := make([]byte, 8)
	if n, err := unix.Read(int(s.Files()[4]), b); err != nil || string(b[:n]) != "guest" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if _, err := unix.Write(int(s.Files()[4]), b); err == nil {
		t.Error("the VMM may write to what it loads")
	}
}

func TestNothingButAFileIsInheritedAsOne(t *testing.T) {
	dir := folder(t)
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, pipe, dir, filepath.Join(dir, "none")} {
		s, err := Open(host.Command{Argv: []string{"/bin/x"}, Files: []host.File{{Name: "saved", Path: path}}}, "test")
		if err == nil {
			s.Close()
			t.Errorf("%s is inherited", path)
		} else if host.KindOf(err) != host.Broken {
			t.Errorf("%s: kind %v: %v", path, host.KindOf(err), err)
		}
	}
}
