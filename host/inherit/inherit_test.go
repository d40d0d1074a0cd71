package inherit

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx") // t.TempDir's paths are too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestNumbersAreThePlaces(t *testing.T) {
	dir := folder(t)
	c := host.Command{
		Argv:    []string{"/bin/x", "fd={fd:qmp},x={fd:agent}", "{fd:agent}{fd:qmp}", "{fd}"},
		Sockets: []host.Socket{{Name: "qmp", Path: filepath.Join(dir, "q")}, {Name: "agent", Path: filepath.Join(dir, "a")}},
		Stderr:  filepath.Join(dir, "err"), Stdout: filepath.Join(dir, "out"),
	}
	s, err := Open(c, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if want := []string{"/bin/x", "fd=3,x=4", "43", "{fd}"}; !slices.Equal(s.Argv, want) {
		t.Errorf("argv %q, want %q", s.Argv, want)
	}
	files := s.Files()
	if len(files) != 5 || files[1] == files[2] {
		t.Fatalf("files %v", files)
	}
	for i, text := range map[int]string{1: "out", 2: "err"} {
		if _, err := unix.Write(int(files[i]), []byte(text)); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, text)); err != nil || string(b) != text {
			t.Errorf("%d went to %q, %v", i, b, err)
		}
	}
	for i, socket := range c.Sockets {
		conn, err := net.Dial("unix", socket.Path)
		if err != nil {
			t.Fatalf("%s: %v", socket.Name, err)
		}
		peer, _, err := unix.Accept(int(files[3+i]))
		if err != nil {
			t.Errorf("%s isn't number %d: %v", socket.Name, 3+i, err)
		}
		_ = errors.Join(unix.Close(peer), conn.Close())
	}
}

func TestOneFileTakesBothOutputs(t *testing.T) {
	dir := folder(t)
	for _, c := range []host.Command{{}, {Stderr: filepath.Join(dir, "a")}, {Stderr: filepath.Join(dir, "b"), Stdout: filepath.Join(dir, "b")}} {
		s, err := Open(c, "test")
		if err != nil {
			t.Fatal(err)
		}
		if f := s.Files(); len(f) != 3 || f[1] != f[2] {
			t.Errorf("files %v", f)
		}
		s.Close()
		s.Close()
	}
}

func TestWhatIsntMadeIsRefused(t *testing.T) {
	sockets := []host.Socket{{Name: "qmp"}, {Name: "agent"}}
	for story, c := range map[string]host.Command{
		"a socket":    {Argv: []string{"/x", "{fd:console}"}, Sockets: sockets},
		"a tap":       {Argv: []string{"/x", "{fd:net1}"}, Taps: []host.Tap{{Name: "net0"}}},
		"one of two":  {Argv: []string{"/x", "{fd:qmp}{fd:net0}"}, Sockets: sockets},
		"two of one":  {Argv: []string{"/x"}, Sockets: append(sockets, sockets[0])},
		"a tap's too": {Argv: []string{"/x"}, Sockets: sockets, Taps: []host.Tap{{Name: "qmp"}}},
	} {
		if Check(c) == nil {
			t.Errorf("%s was let through", story)
		}
	}
	if err := Check(host.Command{Argv: []string{"/x", "{fd:qmp}{fd:net0}"}, Sockets: sockets, Taps: []host.Tap{{Name: "net0"}}}); err != nil {
		t.Error(err)
	}
}

func TestAFailureLeavesNothingOpen(t *testing.T) {
	dir := folder(t)
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(precious, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	before := openFiles(t)
	for story, c := range map[string]host.Command{
		"no folder":                  {Stderr: "/none/err"},
		"no folder for stdout":       {Stdout: "/none/out"},
		"a log that is a link":       {Stderr: filepath.Join(dir, "link")},
		"a file where the socket is": {Sockets: []host.Socket{{Name: "a", Path: filepath.Join(dir, "s")}, {Name: "q", Path: precious}}},
		"a path that is too long":    {Sockets: []host.Socket{{Name: "q", Path: filepath.Join(dir, strings.Repeat("x", 108))}}},
		"a link's name with a slash": {Taps: []host.Tap{{Name: "net0", Link: "../lo"}}},
		"a link that is no tap":      {Taps: []host.Tap{{Name: "net0", Link: "lo"}}},
		"a link's name that is long": {Taps: []host.Tap{{Name: "net0", Link: "blx1234567890123"}}},
	} {
		if s, err := Open(c, "test"); err == nil || host.KindOf(err) != host.Broken {
			t.Errorf("%s: %v, %v", story, s, err)
		}
	}
	if _, err := Open(host.Command{Taps: []host.Tap{{Name: "net0", Link: "blx0none"}}}, "test"); host.KindOf(err) != host.Transient {
		t.Errorf("a tap that somebody may be repairing: %v", err)
	}
	if after := openFiles(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "x" {
		t.Errorf("the file in the way was changed: %q, %v", b, err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}
