package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// installed runs install/install with binaries of this tree.
type installed struct {
	t         *testing.T
	bin, root string
}

func (i installed) run(doing string) string {
	i.t.Helper()
	cmd := exec.CommandContext(i.t.Context(), "install/install", doing, i.root, "/usr")
	cmd.Env = append(os.Environ(), "BIN="+i.bin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		i.t.Fatalf("%s: %v: %s", doing, err, out)
	}
	return string(out)
}

func (i installed) files() []string {
	i.t.Helper()
	var out []string
	err := filepath.WalkDir(i.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, strings.TrimPrefix(path, i.root))
		}
		return err
	})
	if err != nil {
		i.t.Fatal(err)
	}
	return out
}

func (i installed) read(path string) string {
	i.t.Helper()
	b, err := os.ReadFile(filepath.Join(i.root, path))
	if err != nil {
		i.t.Fatal(err)
	}
	return string(b)
}

func newInstalled(t *testing.T) installed {
	t.Helper()
	for _, tool := range []string{"bash", "install"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("skipped: %s is not there", tool)
		}
	}
	i := installed{t: t, bin: t.TempDir(), root: t.TempDir()}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", i.bin, ".", "../blixard-init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return i
}

func TestInstallAndUninstall(t *testing.T) {
	i := newInstalled(t)
	i.run("install")
	have := i.files()
	for _, want := range []string{
		"/usr/bin/blixard", "/usr/libexec/blixard/blixard-init", "/etc/blixard/blixard.yaml",
		"/usr/lib/systemd/system/blixard.service", "/usr/lib/systemd/system/blixard.socket", "/usr/lib/systemd/system/blixard.slice",
		"/usr/lib/sysusers.d/blixard.conf", "/usr/lib/tmpfiles.d/blixard.conf",
		"/usr/share/bash-completion/completions/blixard", "/usr/share/zsh/site-functions/_blixard",
		"/usr/share/fish/vendor_completions.d/blixard.fish", "/usr/share/man/man1/blixard.1",
		"/usr/share/man/man1/blixard-vm-create.1", "/usr/share/man/man5/blixard.spec.5", "/usr/share/man/man5/blixard.yaml.5",
	} {
		if !slices.Contains(have, want) {
			t.Errorf("%s was not installed", want)
		}
	}
	if _, err := readConfig(filepath.Join(i.root, "etc/blixard/blixard.yaml")); err != nil {
		t.Errorf("the packaged configuration: %v", err)
	}
	i.verifyUnits()
	i.lintManuals(have)

	edited := filepath.Join(i.root, "etc/blixard/blixard.yaml")
	if err := os.WriteFile(edited, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	i.run("install") // an upgrade
	if i.read("etc/blixard/blixard.yaml") != "# mine\n" {
		t.Error("an upgrade replaced the administrator's configuration")
	}
	if again := i.files(); !slices.Equal(again, have) {
		t.Errorf("a second install left other files: %v", again)
	}
	i.run("uninstall")
	if left := i.files(); !slices.Equal(left, []string{"/etc/blixard/blixard.yaml"}) {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(edited); err != nil {
		t.Fatal(err)
	}
	i.run("install")
	i.run("uninstall")
	i.run("uninstall") // twice is harmless
	if left := i.files(); len(left) > 0 {
		t.Errorf("left behind, though nothing was changed: %v", left)
	}
}

// verifyUnits asks systemd's own checker, for which silence is approval.
func (i installed) verifyUnits() {
	i.t.Helper()
	for _, c := range []struct{ unit, says string }{
		{"blixard.service", "\nExecStart=/usr/bin/blixard daemon "}, {"blixard.socket", "\nListenStream=/run/blixard/blixard.sock\n"},
	} {
		if !strings.Contains(i.read("usr/lib/systemd/system/"+c.unit), c.says) {
			i.t.Errorf("%s lacks %q", c.unit, c.says)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		i.t.Log("skipped: systemd-analyze verify, because it is not installed")
		return
	}
	dir := i.t.TempDir()
	args := []string{"verify", "--man=no"} // the pages are in no man path yet
	for _, unit := range []string{"blixard.service", "blixard.socket", "blixard.slice"} {
		text := strings.ReplaceAll(i.read("usr/lib/systemd/system/"+unit), "/usr/bin/", i.root+"/usr/bin/")
		if err := os.WriteFile(filepath.Join(dir, unit), []byte(text), 0o644); err != nil {
			i.t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, unit))
	}
	if out, err := exec.CommandContext(i.t.Context(), "systemd-analyze", args...).CombinedOutput(); err != nil || len(out) > 0 {
		i.t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}

func (i installed) lintManuals(files []string) {
	i.t.Helper()
	if _, err := exec.LookPath("mandoc"); err != nil {
		i.t.Log("skipped: mandoc -Tlint, because it is not installed")
		return
	}
	for _, path := range files {
		if !strings.HasPrefix(path, "/usr/share/man/") {
			continue
		}
		out, err := exec.CommandContext(i.t.Context(), "mandoc", "-Tlint", "-Wstyle", filepath.Join(i.root, path)).CombinedOutput()
		if err != nil || len(out) > 0 {
			i.t.Errorf("mandoc -Tlint: %v: %s", err, out)
		}
	}
}
