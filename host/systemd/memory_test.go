package systemd

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/host/procfs"
	"github.com/blixard/blixard/vm"
)

func TestPeakOfACgroup(t *testing.T) {
	const unit = "/blixard.slice/blixard-web.service"
	for story, c := range map[string]struct {
		files map[string]string
		path  string
		want  vm.Bytes
	}{
		"v2":                     {map[string]string{unit + "/memory.peak": "1048576\n"}, unit, vm.MiB},
		"v1":                     {map[string]string{"memory" + unit + "/memory.max_usage_in_bytes": "2097152\n"}, unit, 2 * vm.MiB},
		"v2 beside v1":           {map[string]string{"unified" + unit + "/memory.peak": "4096\n"}, unit, 4096},
		"a kernel before 5.19":   {map[string]string{unit + "/memory.current": "77\n"}, unit, 0},
		"it is gone":             {nil, unit, 0},
		"another unit's":         {map[string]string{"/blixard.slice/blixard-db.service/memory.peak": "1048576\n"}, unit, 0},
		"no unit":                {map[string]string{"memory.peak": "1048576\n"}, "", 0},
		"no number":              {map[string]string{unit + "/memory.peak": "max\n"}, unit, 0},
		"nothing":                {map[string]string{unit + "/memory.peak": ""}, unit, 0},
		"more than there can be": {map[string]string{unit + "/memory.peak": "99999999999999999999\n"}, unit, 0},
		"v2 tells none, v1 does": {map[string]string{unit + "/memory.peak": "0\n", "memory" + unit + "/memory.max_usage_in_bytes": "4096\n"}, unit, 4096},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := cgroups(root).memory(c.path).Peak; got != c.want {
			t.Errorf("%s: %v, want %v", story, got, c.want)
		}
	}
}

// unitTellsItsPeakOfMemory also where systemd itself can't, of a unit that it
// launched or adopted: its files are forged, because systemd may be quicker than
// we in removing real ones.
func unitTellsItsPeakOfMemory(t *testing.T) {
	w := newWorld(t)
	w.config.groups = cgroups(filepath.Join(w.Dir, "cgroup"))
	w.Restart()
	for i := 1; i <= 2; i++ {
		p := w.Launch(w.Sh(i, 1, sleeps))
		path, err := procfs.Default.Cgroup(p.PID)
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(string(w.config.groups), path)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "memory.peak"), []byte("34603008\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			w.Restart()
			if _, err := w.l.Find(t.Context(), w.Ref(i, 1), &p); err != nil {
				t.Fatal(err)
			}
		}
		launchertest.Kill9(t, p.PID)
		if e := w.Exit(p); !e.Known || e.Signal != 9 || e.MemoryPeak != 33*vm.MiB {
			t.Errorf("vm-%d (%s) ended by %+v", i, path, e)
		}
	}
}

// unitIsStarvedByTheKernelsLog: systemd was quicker, and the cgroup is gone.
func unitIsStarvedByTheKernelsLog(t *testing.T) {
	w := newWorld(t)
	if why := w.l.Holding().Memory; why != "" {
		t.Skip("this machine doesn't limit memory: " + why)
	}
	if _, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, make([]byte, 1024)); err != nil {
		t.Skip("the kernel's log can't be read: " + err.Error())
	}
	w.config.groups = cgroups(filepath.Join(w.Dir, "none"))
	w.Restart()
	p := w.Launch(w.Leak(1, 32*vm.MiB, "/dev/null"))
	e := w.Exit(p)
	if e.OOM == nil || e.OOM.Host || e.OOM.Limit != 32*vm.MiB || e.OOM.Usage < 31*vm.MiB {
		t.Errorf("told as %+v: %+v", e, e.OOM)
	}
	calm := w.Launch(w.Sh(60, 1, sleeps)) // the name of none that was starved seconds ago, in a run before this one
	launchertest.Kill9(t, calm.PID)
	if e := w.Exit(calm); e.OOM != nil {
		t.Errorf("a kill by anybody was told as %+v", e.OOM)
	}
}
