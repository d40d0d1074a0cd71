package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/blixard/blixard/vm"
)

// recorded is a kernel of files: what one was seen to show, and groups that get
// the files of their hierarchy when they are made.
type recorded struct {
	t      *testing.T
	kernel kernel
	fresh  func(path string) map[string]string // files of a new group
}

func newRecorded(t *testing.T, files map[string]string, fresh func(path string) map[string]string) *recorded {
	t.Helper()
	r := &recorded{t: t, fresh: fresh, kernel: kernel{root: t.TempDir()}}
	r.kernel.mkdir = func(path string) error {
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		return r.put(path, fresh(strings.TrimPrefix(path, r.kernel.root)))
	}
	r.kernel.rmdir = func(path string) error {
		if pids := words(filepath.Join(path, "cgroup.procs")); len(pids) > 0 {
			return errors.New("device or resource busy")
		}
		return os.RemoveAll(path)
	}
	for path, text := range files {
		if err := r.put(filepath.Join(r.kernel.root, filepath.Dir(path)), map[string]string{filepath.Base(path): text}); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *recorded) put(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorded) want(path, text string) {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.kernel.root, path))
	if err != nil || strings.TrimSpace(string(b)) != text {
		r.t.Errorf("%s has %q, %v; want %q", path, b, err, text)
	}
}

var (
	ref    = vm.Ref{VM: "0123456789abcdef", Name: "web", Incarnation: 7}
	limits = vm.Limits{Memory: 256 * vm.MiB, CPUQuota: 150, CPUWeight: 200, IOWeight: 300, Tasks: 1024}
)

// ofV2 are the files that Linux 6.1 puts into a group of version 2.
func ofV2(string) map[string]string {
	return map[string]string{
		"cgroup.procs": "", "cgroup.events": "populated 0\nfrozen 0\n", "cgroup.controllers": "cpu io memory pids\n", "cgroup.subtree_control": "",
		"memory.max": "max\n", "memory.swap.max": "max\n", "memory.oom.group": "0\n", "memory.peak": "0\n", "memory.current": "0\n",
		"memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n", "cpu.max": "max 100000\n", "cpu.weight": "100\n",
		"io.weight": "default 100\n", "pids.max": "max\n",
	}
}

const onlyV2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

// contained is a namespace of cgroups, whose first process is the daemon.
func contained() map[string]string {
	files := map[string]string{"/proc/self/mountinfo": onlyV2, "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/io.cost.qos": "8:0 enable=1 ctrl=user\n"}
	for name, text := range ofV2("") {
		files["/sys/fs/cgroup/"+name] = text
	}
	files["/sys/fs/cgroup/cgroup.procs"] = strconv.Itoa(os.Getpid()) + "\n"
	return files
}

func TestV2HoldsEverything(t *testing.T) {
	r := newRecorded(t, contained(), ofV2)
	tree := open("n0de", r.kernel)
	if h := tree.Holding(); h != (vm.Holding{}) {
		t.Fatalf("it can't hold %+v", h)
	}
	r.want("/sys/fs/cgroup/blixard-daemon/cgroup.procs", strconv.Itoa(os.Getpid())) // a group that gives its controllers on has no process
	r.want("/sys/fs/cgroup/blixard/n0de/cgroup.subtree_control", "+pids")           // the last of four writes
	g, err := tree.Make(ref, limits)
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/sys/fs/cgroup/blixard/n0de/web.0123456789abcdef.7/"
	for file, text := range map[string]string{
		"memory.max": "268435456", "memory.swap.max": "0", "memory.oom.group": "1", "cpu.max": "150000 100000", "cpu.weight": "200",
		"io.weight": "300", "pids.max": "1024",
	} {
		r.want(dir+file, text)
	}
	if m := g.Memory(); m.Limit != 256*vm.MiB || m.Kills != 0 {
		t.Errorf("it tells %+v", m)
	}
	if err := r.put(filepath.Join(r.kernel.root, dir), map[string]string{
		"memory.events": "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n", "memory.peak": "268435456\n",
	}); err != nil {
		t.Fatal(err)
	}
	if m := g.Memory(); m.Kills != 1 || m.Full != 2 || m.Peak != 256*vm.MiB {
		t.Errorf("after a kill it tells %+v", m)
	}
	if err := errors.Join(g.Remove(), g.Remove()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.kernel.root, dir)); err == nil {
		t.Error("P7: it is still there")
	}
}

// The next life of the daemon begins in the group to which the first one moved.
func TestV2IsFoundAgain(t *testing.T) {
	files := contained()
	files["/proc/self/cgroup"] = "0::/blixard-daemon\n"
	files["/sys/fs/cgroup/cgroup.procs"] = ""
	files["/proc/77/cgroup"] = "0::/blixard/n0de/web.0123456789abcdef.7\n"
	r := newRecorded(t, files, ofV2)
	if err := r.kernel.mkdir(filepath.Join(r.kernel.root, "/sys/fs/cgroup/blixard-daemon")); err != nil {
		t.Fatal(err)
	}
	tree := open("n0de", r.kernel)
	if h := tree.Holding(); h.Memory != "" {
		t.Fatal(h)
	}
	if g, err := tree.Make(ref, limits); err != nil || g.v2 != filepath.Join(r.kernel.root, "/sys/fs/cgroup/blixard/n0de/web.0123456789abcdef.7") {
		t.Fatalf("%+v, %v", g, err)
	}
	again := open("n0de", r.kernel)
	other := ref
	other.VM = "00000000000000ff"
	if g := again.Of(77, other); g != nil {
		t.Errorf("P8: process 77 was taken for another VM's: %+v", g)
	}
	g := again.Of(77, ref)
	if g == nil || g.Memory().Limit != limits.Memory {
		t.Fatalf("adopted with %+v", g)
	}
	again.Sweep()
	if g.Memory().Limit == 0 {
		t.Error("the group of a VMM that lives was swept")
	}
	open("n0de", r.kernel).Sweep()
	if g.Memory().Limit != 0 {
		t.Error("P7: a group that no VMM is in was left")
	}
}

func TestWhereNothingCanBeHeldItIsSaid(t *testing.T) {
	for story, c := range map[string]struct {
		change func(files map[string]string)
		want   string
	}{
		"others in our group":      {func(f map[string]string) { f["/sys/fs/cgroup/cgroup.procs"] += "2\n3\n" }, "3 processes share the daemon's cgroup"},
		"systemd's, not delegated": {func(f map[string]string) { f["/run/systemd/system/x"] = "" }, "belongs to systemd"},
		"no hierarchy":             {func(f map[string]string) { f["/proc/self/mountinfo"] = "" }, "is mounted here"},
		"no controllers":           {func(f map[string]string) { f["/sys/fs/cgroup/cgroup.controllers"] = "hugetlb\n" }, "is mounted here"},
		"no word of our groups":    {func(f map[string]string) { delete(f, "/proc/self/cgroup") }, "no such file"},
		"nonsense of our groups":   {func(f map[string]string) { f["/proc/self/cgroup"] = "what?\n" }, "what?"},
		"outside of what is mounted": {func(f map[string]string) {
			f["/proc/self/cgroup"] = "0::/../..\n"
			f["/sys/fs/cgroup/cgroup.procs"] = "5\n6\n"
		}, "2 processes share"},
		"controllers can't be given":  {func(f map[string]string) { delete(f, "/sys/fs/cgroup/cgroup.subtree_control") }, "subtree_control"},
		"the wrong kind of line":      {func(f map[string]string) { f["/proc/self/mountinfo"] = "x\n1 2 - cgroup2\n" }, "is mounted here"},
		"a foreign file system there": {func(f map[string]string) { f["/proc/self/mountinfo"] = strings.ReplaceAll(onlyV2, "cgroup2", "tmpfs") }, "is mounted here"},
	} {
		t.Run(story, func(t *testing.T) {
			files := contained()
			c.change(files)
			tree := open("n0de", newRecorded(t, files, ofV2).kernel)
			if h := tree.Holding(); !strings.Contains(h.Memory, c.want) || h.Tasks == "" {
				t.Errorf("told %+v, want %q", h, c.want)
			}
			if g, err := tree.Make(ref, limits); err != nil || g != nil {
				t.Errorf("a VMM is launched without: %+v, %v", g, err)
			}
		})
	}
}

// What is left of an older machine, or of one in a container of version 1
// without a namespace: paths of the kernel begin outside of what is mounted.
func TestV1BelowAMount(t *testing.T) {
	const at = "/sys/fs/cgroup/memory/own/"
	r := newRecorded(t, map[string]string{
		"/proc/self/mountinfo": "32 31 0:29 /docker/ab /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" +
			"33 31 0:30 /docker/ab /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
		"/proc/self/cgroup":                           "4:memory:/docker/ab/own\n2:cpu,cpuacct:/elsewhere\n0::/docker/ab\n",
		at + "cgroup.procs":                           "1\n",
		"/sys/fs/cgroup/cpu,cpuacct/cgroup.procs":     "1\n",
		"/sys/fs/cgroup/unified/cgroup.controllers":   "\n",
		"/proc/9/cgroup":                              "4:memory:/docker/ab/own/blixard/n0de/web.0123456789abcdef.7\n2:cpu,cpuacct:/elsewhere\n",
		"/sys/block/sda/queue/scheduler":              "[mq-deadline] bfq none\n",
		"/sys/fs/cgroup/unified/docker/cgroup.events": "",
	}, func(string) map[string]string {
		return map[string]string{
			"cgroup.procs": "", "tasks": "", "memory.limit_in_bytes": "9223372036854771712\n", "memory.swappiness": "60\n", "cpu.cfs_quota_us": "-1\n",
			"cpu.shares": "1024\n", "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
		}
	})
	tree := open("n0de", r.kernel)
	if h := tree.Holding(); h.Memory != "" || h.CPU != "" || !strings.Contains(h.IO, "io") || !strings.Contains(h.Tasks, "pids") {
		t.Fatalf("it holds all but %+v", h)
	}
	if _, err := tree.Make(ref, limits); err != nil { // without swap accounting: memory.memsw is missing
		t.Fatal(err)
	}
	r.want(at+"blixard/n0de/web.0123456789abcdef.7/memory.limit_in_bytes", "268435456")
	r.want(at+"blixard/n0de/web.0123456789abcdef.7/memory.swappiness", "0")
	r.want("/sys/fs/cgroup/cpu,cpuacct/blixard/n0de/web.0123456789abcdef.7/cpu.cfs_quota_us", "150000")
	r.want("/sys/fs/cgroup/cpu,cpuacct/blixard/n0de/web.0123456789abcdef.7/cpu.shares", "2048")
	if g := tree.Of(9, ref); g == nil || len(g.v1) != 1 {
		t.Errorf("adopted with %+v", g)
	}
}

func TestAGroupThatSomebodyIsInIsNotTaken(t *testing.T) {
	r := newRecorded(t, contained(), ofV2)
	tree := open("n0de", r.kernel)
	g, err := tree.Make(ref, limits)
	if err != nil {
		t.Fatal(err)
	}
	if err := write(g.v2, "cgroup.procs", "4711\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Make(ref, limits); err == nil || !strings.Contains(err.Error(), "4711") {
		t.Errorf("it was taken: %v", err)
	}
	if err := g.Remove(); err == nil {
		t.Error("it was removed")
	}
}

func TestNoNameEscapes(t *testing.T) {
	for _, bad := range []vm.Ref{
		{},
		{VM: ref.VM, Name: "..", Incarnation: 1},
		{VM: ref.VM, Name: "a/b", Incarnation: 1},
		{VM: "../../x", Name: "web", Incarnation: 1},
		{VM: "0123456789ABCDEF", Name: "web", Incarnation: 1},
		{VM: ref.VM, Name: "web"},
		{VM: ref.VM + "0", Name: "web", Incarnation: 1},
		{VM: ref.VM, Name: "we.b", Incarnation: 1},
	} {
		if got, err := name(bad); err == nil {
			t.Errorf("%+v became %q", bad, got)
		}
	}
	for _, foreign := range []string{"", ".", "web", "web.7", "web.0123456789abcdef.07", "web.0123456789abcdef.7.8", "web.0123456789abcdef.-1", "x.service", "web.0123456789abcdef.99999999999999999999999"} {
		if of, ours := parse(foreign); ours {
			t.Errorf("P8: %q was taken for %+v", foreign, of)
		}
	}
}

// A weight of BFQ has another scale with the same middle.
func TestWeights(t *testing.T) {
	for w, want := range map[int]int{1: 1, 50: 50, 100: 100, 300: 118, 10000: 1000} {
		if got := bfq(w); got != want {
			t.Errorf("%d becomes %d, want %d", w, got, want)
		}
	}
}

func TestSystemdHoldsWhatIsMountedWritable(t *testing.T) {
	r := newRecorded(t, contained(), ofV2)
	if h := r.kernel.systemd(); h != (vm.Holding{}) {
		t.Errorf("v2: %+v", h)
	}
	r = newRecorded(t, map[string]string{
		"/proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n",
		"/proc/self/cgroup":    "4:memory:/\n1:name=systemd:/\n", "/sys/fs/cgroup/memory/tasks": "",
		"/proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n",
	}, nil)
	if h := r.kernel.systemd(); !strings.Contains(h.Memory, "swap") || !strings.Contains(h.CPU, "cpu") || h.Tasks == "" || h.IO == "" {
		t.Errorf("v1 with swap: %+v", h)
	}
	if h := newRecorded(t, nil, nil).kernel.systemd(); h.Memory == "" || h.Tasks == "" {
		t.Errorf("nothing: %+v", h)
	}
}
