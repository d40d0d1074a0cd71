package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// namesakes tells the test's own process that it is only to be there.
const namesakes = "BLIXARD_TEST_PGREP"

func TestPgrepCountsByName(t *testing.T) {
	if os.Getenv(namesakes) != "" {
		_, _ = os.Stdout.WriteString(".")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
		return
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	self := strings.TrimSpace(string(comm))
	for _, tt := range []struct {
		args string
		code int
		out  string
	}{
		{"-c -x no-such-name", 1, "0\n"},
		{"-x " + self, 2, ""},
		{"-c -x", 2, ""},
	} {
		var b strings.Builder
		if code := pgrep(&b, strings.Fields(tt.args)); code != tt.code || b.String() != tt.out {
			t.Errorf("pgrep %s: %d %q, want %d %q", tt.args, code, b.String(), tt.code, tt.out)
		}
	}
	name, end := namesake(t)
	for range 2 {
		var b strings.Builder
		if code := pgrep(&b, []string{"-c", "-x", name}); code != 0 || b.String() != "1\n" {
			t.Errorf("one process of the name %s was counted as %d %q", name, code, b.String())
		}
	}
	end()
	var b strings.Builder
	if code := pgrep(&b, []string{"-c", "-x", name}); code != 1 || b.String() != "0\n" {
		t.Errorf("it has ended, and was counted as %d %q", code, b.String())
	}
}

// namesake runs this test once more, as a process of a name that no other has,
// and ends it.
func namesake(t *testing.T) (name string, end func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name = "bx" + strconv.Itoa(os.Getpid())
	path := filepath.Join(t.TempDir(), name) // the kernel names a process after the file that it was started by
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "-test.run=^TestPgrepCountsByName$")
	c.Env = append(os.Environ(), namesakes+"=1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil { // from now on it has its name
		t.Fatal(err)
	}
	return name, end
}
