package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blixard/blixard/host"
)

// Kernel is an installed, or unpacked, kernel package.
type Kernel struct {
	Release string // "6.1.0-56-cloud-amd64"
	Path    string // of its bzImage
	Modules string // its folder below lib/modules
}

// FindKernel returns the newest kernel below the roots that has its modules;
// a cloud kernel before all others, because it is the smallest. A root is "/"
// or the folder of an unpacked package. The failure is host.Gone.
func FindKernel(roots ...string) (Kernel, error) {
	var found []Kernel
	for _, root := range roots {
		paths, err := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
		if err != nil {
			return Kernel{}, host.Fail(host.Broken, "find a kernel", err)
		}
		for _, path := range paths {
			release := strings.TrimPrefix(filepath.Base(path), "vmlinuz-")
			if modules, ok := findModules(root, release); ok {
				found = append(found, Kernel{Release: release, Path: path, Modules: modules})
			}
		}
	}
	if len(found) == 0 {
		return Kernel{}, host.Fail(host.Gone, "find a kernel", fmt.Errorf("no boot/vmlinuz-* with its lib/modules below %s; %s",
			strings.Join(roots, ", "), remedy))
	}
	return slices.MaxFunc(found, compareKernels), nil
}

func findModules(root, release string) (string, bool) {
	for _, parent := range []string{"lib/modules", "usr/lib/modules"} {
		dir := filepath.Join(root, parent, release)
		if s, err := os.Stat(filepath.Join(dir, "kernel")); err == nil && s.IsDir() {
			return dir, true
		}
	}
	return "", false
}

func compareKernels(a, b Kernel) int {
	cloud := func(k Kernel) int {
		if strings.Contains(k.Release, "cloud") {
			return 1
		}
		return 0
	}
	if c := cloud(a) - cloud(b); c != 0 {
		return c
	}
	return compareReleases(a.Release, b.Release)
}

// compareReleases compares runs of digits as numbers: 6.1.0-9 is older than
// 6.1.0-56.
func compareReleases(a, b string) int {
	for a != "" && b != "" {
		var x, y string
		x, a = cutRun(a)
		y, b = cutRun(b)
		if digit(x[0]) && digit(y[0]) {
			x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return len(a) - len(b)
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// cutRun splits off the longest run of digits, or of anything else.
func cutRun(s string) (run, rest string) {
	i := 1
	for i < len(s) && digit(s[i]) == digit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}

// InitProgram is the file name of cmd/blixard-init: beside the daemon in a
// build, below libexec where it was installed.
const InitProgram = "blixard-init"

// FindInit returns the init program that was built or installed with the
// running executable. The failure is host.Gone.
func FindInit() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", host.Fail(host.Broken, "find the init program", err)
	}
	beside := filepath.Dir(self)
	for _, path := range []string{filepath.Join(beside, InitProgram), filepath.Join(beside, "../libexec/blixard", InitProgram)} {
		if _, err = os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", host.Fail(host.Gone, "find the init program", fmt.Errorf("%w; %s", err, remedy))
}

// checkStatic refuses a program that would need a loader, which the initramfs
// doesn't have: the guest would panic with nothing but "no working init found".
func checkStatic(program []byte) error {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return fmt.Errorf("not an ELF program: %w", err)
	}
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("is for %s, not x86-64", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("is linked dynamically: build it with CGO_ENABLED=0")
		}
	}
	return nil
}
