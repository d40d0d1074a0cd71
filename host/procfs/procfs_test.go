package procfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var recorded = FS{Root: "testdata/proc"}

func TestRecordedProcesses(t *testing.T) {
	s, err := recorded.Stat(4711)
	if err != nil || s.Comm != "qemu-system-x86" || s.Parent != 1 || s.Session != 4711 || s.StartTime == 0 || s.Ended() {
		t.Errorf("a plain process: %+v, %v", s, err)
	}
	s, err = recorded.Stat(4712)
	if err != nil || !strings.HasPrefix(s.Comm, "a) R 1 (b") || !s.Ended() || s.Session != 4711 || s.Exit != 9 {
		t.Errorf("a process whose name looks like the fields after it: %+v, %v", s, err)
	}
	if s, err = recorded.Stat(4713); err == nil {
		t.Errorf("a cut line was read as %+v", s)
	}
	if _, err = recorded.Stat(4714); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is gone: %v", err)
	}
}

func TestWhoWillHaveAnEnvironment(t *testing.T) {
	line := "7 (x) %c 1 7 7 0 -1 %d" + strings.Repeat(" 0", 12) + " 500" + strings.Repeat(" 0", 27) + " %d %d 0"
	for story, c := range map[string]struct {
		state           byte
		flags, from, to uint64
		unsettled       bool
	}{
		"an exec is under way":          {'R', 4194304, 0, 0, true},
		"it runs":                       {'S', 4194304, 5000, 5100, false},
		"it runs, without a variable":   {'S', 4194304, 5000, 5000, false},
		"it waits to be reaped":         {'Z', 4194304, 0, 0, false},
		"a thread of the kernel":        {'I', 0x208040, 0, 0, false},
		"an exec that waits for a disk": {'D', 4194304, 0, 0, true},
	} {
		s, err := ParseStat(fmt.Appendf(nil, line, c.state, c.flags, c.from, c.to))
		if err != nil || s.Unsettled() != c.unsettled {
			t.Errorf("%s: %+v, %v", story, s, err)
		}
	}
}

func TestEnvironTakesTheFirstAsGetenvDoes(t *testing.T) {
	got, err := recorded.Environ(4711, "BLIXARD_")
	want := map[string]string{"VM": "00112233445566aa", "NAME": "web-1"}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if got, err = recorded.Environ(4712, "BLIXARD_"); !errors.Is(err, ErrNoEnviron) || len(got) != 0 {
		t.Errorf("an empty environment: %v, %v", got, err)
	}
}

func TestRecordedNode(t *testing.T) {
	pids, err := recorded.PIDs()
	slices.Sort(pids)
	if err != nil || !slices.Equal(pids, []int{4711, 4712, 4713}) {
		t.Errorf("processes: %v, %v", pids, err)
	}
	if id, err := recorded.BootID(); err != nil || id != "5f0c8a44-7f0e-4c5d-9c67-0d3c1c5b8a21" {
		t.Errorf("boot id: %q, %v", id, err)
	}
}

func TestTheKernelsOwn(t *testing.T) {
	s, err := Default.Stat(os.Getpid())
	if err != nil || s.Parent != os.Getppid() || s.StartTime == 0 {
		t.Errorf("ourselves: %+v, %v", s, err)
	}
	if id, err := Default.BootID(); err != nil {
		t.Errorf("boot id %q: %v", id, err)
	}
}

func TestABrokenBootIDIsAnError(t *testing.T) {
	root := t.TempDir()
	f := FS{Root: root}
	if err := os.MkdirAll(filepath.Join(root, "sys/kernel/random"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "sys/kernel/random/boot_id"), []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := f.BootID(); err == nil {
		t.Errorf("a boot id that is none became %q", id)
	}
}

func FuzzParseStat(f *testing.F) {
	for _, pid := range []string{"4711", "4712", "4713"} {
		b, err := os.ReadFile(filepath.Join("testdata/proc", pid, "stat"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(") ("))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStat(b)
		if err != nil && s != (Stat{}) {
			t.Fatalf("an error and a process at once: %+v, %v", s, err)
		}
	})
}
