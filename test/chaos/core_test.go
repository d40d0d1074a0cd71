package chaos

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
	"github.com/blixard/blixard/vm"
)

// cored is a VM whose VMM leaves a core.
func cored(name string) *v1.VMSpec {
	spec := node.Builtin(name, "")
	spec.Dump = &v1.Dump{Core: true}
	return spec
}

// coresComeHere says whether the kernel puts cores where a VMM works, or skips the
// rest: what it does with them is the machine's own.
func coresComeHere(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	if p := strings.TrimSpace(string(b)); p == "" || strings.ContainsAny(p, "|@/") {
		t.Skipf("this machine's kernel puts cores elsewhere: core_pattern is %q", p)
	}
}

// coreIs fails unless the core is QEMU's own, with all of its threads, and without its guest's memory.
func coreIs(t *testing.T, core io.ReaderAt, holds, memory vm.Bytes) {
	t.Helper()
	f, err := elf.NewFile(core)
	if err != nil || f.Type != elf.ET_CORE {
		t.Fatalf("no core: %v, %v", f, err)
	}
	threads, far := 0, uint64(0)
	for _, p := range f.Progs {
		far = max(far, p.Off+p.Filesz)
		if p.Type != elf.PT_NOTE {
			continue
		}
		notes, err := io.ReadAll(p.Open())
		if err != nil {
			t.Fatal(err)
		}
		threads += bytes.Count(notes, []byte("\x01\x00\x00\x00CORE\x00")) // NT_PRSTATUS, one of each
	}
	if last := make([]byte, 1); far > 0 {
		if _, err := core.ReadAt(last, int64(far)-1); err != nil {
			t.Errorf("it is cut off before byte %d: %v", far, err)
		}
	}
	if threads < 2 || holds <= 0 || holds > memory/2 {
		t.Errorf("it holds %s, with a guest of %s, and %d threads", holds, memory, threads)
	}
	t.Logf("the core of %d threads holds %s, and is %s long; the guest has %s", threads, holds, vm.Bytes(far), memory)
}

// A VMM that crashes leaves its core in the bundle of its death, where it was
// asked for, and comes back no later for it.
func TestCrashedVMMLeavesItsCore(t *testing.T) {
	t.Parallel()
	coresComeHere(t)
	w := begin(t, node.Options{})
	first := w.up(cored("victim"))
	folder := filepath.Join(w.State, "vms", "victim")
	for n := range uint64(2) {
		p, err := w.VMM(int(first.GetPid()))
		w.must(err)
		struck := time.Now()
		_, err = p.Signal(syscall.SIGSEGV)
		w.must(err)
		first = w.next(first)
		c := w.bundled("victim", n+1)
		t.Logf("the VMM's end was known %v after the signal", c.GetAt().AsTime().Sub(struck))
		if c.GetCause() != "vmm-crash" || c.GetSignal() != int32(unix.SIGSEGV) || !c.GetCore() || !strings.Contains(c.GetEvidence(), "core dumped") {
			t.Fatalf("want a segmentation fault with a core, got %v\n%s", c, w.ctl(0, "vm", "crashes", "victim", "1").Stdout)
		}
	}
	files := w.exported("victim", "1")
	b := crashOf(t, files)
	if b.Core == nil || b.Core.Why != "" {
		t.Fatalf("crash.json tells of the core %+v", b.Core)
	}
	coreIs(t, bytes.NewReader(files["vmm.core"]), b.Core.Bytes, b.Spec.Memory)
	if shown := w.ctl(0, "vm", "crashes", "victim", "1").Stdout; !strings.Contains(shown, "vmm.core in the bundle") {
		t.Errorf("shown is\n%s", shown)
	}
	var left []string
	w.eventually("one folder for cores", soon, func() bool {
		var err error
		left, err = filepath.Glob(filepath.Join(folder, "core-*"))
		return err == nil && len(left) == 1
	})
	at, err := os.Stat(left[0])
	if err != nil || at.Mode().Perm() != 0o730 {
		t.Errorf("%s: %v, %v", left[0], at, err)
	}
	w.ctl(0, "vm", "crashes", "victim", "--prune")
}

// Under systemd it is the same.
func TestCrashedVMMOfAUnitLeavesItsCore(t *testing.T) {
	t.Parallel()
	coresComeHere(t)
	s := settle(t, node.Options{Launcher: "systemd"})
	spec := s.PVH("victim")
	spec.Dump = &v1.Dump{Core: true}
	first := s.up(spec)
	p, err := s.VMM(int(first.GetPid()))
	s.must(err)
	_, err = p.Signal(syscall.SIGSEGV)
	s.must(err)
	s.next(first)
	folder := filepath.Join(s.State, "vms", "victim", "crashes", "1")
	s.eventually("a bundle", soon, func() bool {
		_, err := os.Stat(folder)
		return err == nil
	})
	all, err := s.Crashes(s.ctx, "victim")
	s.must(err)
	if i := slices.IndexFunc(all, func(c *v1.Crash) bool { return c.GetNumber() == 1 && c.GetCore() && c.GetResult() == "core-dump" }); i < 0 {
		t.Errorf("want the core of a unit, got %v", all)
	}
	file, err := os.Open(filepath.Join(folder, "vmm.core"))
	s.must(err)
	defer file.Close()
	var at unix.Stat_t
	s.must(unix.Fstat(int(file.Fd()), &at))
	if at.Mode&0o777 != 0o600 {
		t.Errorf("its mode is %o", at.Mode)
	}
	coreIs(t, file, vm.Bytes(at.Blocks*512), vm.GiB)
}

// Nobody who didn't ask for it has a core on the disk: it holds what passed through the VMM.
func TestUnaskedCrashLeavesNoCore(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	first := w.up(node.Builtin("victim", ""))
	p, err := w.VMM(int(first.GetPid()))
	w.must(err)
	_, err = p.Signal(syscall.SIGSEGV)
	w.must(err)
	w.next(first)
	if c := w.bundled("victim", 1); c.GetCore() || strings.Contains(c.GetEvidence(), "core dumped") {
		t.Errorf("got %v", c)
	}
	err = filepath.WalkDir(w.Root, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "core") {
			t.Errorf("there is %s", path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	w.must(err)
}
