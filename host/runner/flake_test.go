package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/vm"
)

// flakeWorld is a node with nix and a store of its own, so that nothing of the
// machine's is touched and garbage may be collected.
func flakeWorld(t *testing.T) *world {
	t.Helper()
	needRoot(t, "a runner that root may run")
	if _, err := exec.LookPath("nix"); err != nil {
		t.Skipf("SKIP: flakes: %v (on Debian: apt-get install nix-bin)", err)
	}
	w := newWorld(t)
	for name, folder := range map[string]string{"NIX_STORE_DIR": "store", "NIX_STATE_DIR": "var", "NIX_LOG_DIR": "log", "NIX_CONF_DIR": "etc"} {
		path := filepath.Join(w.dir, "nix", folder)
		do(t, os.MkdirAll(path, 0o755))
		t.Setenv(name, path)
	}
	t.Setenv("NIX_REMOTE", "local")
	t.Setenv("NIX_CONFIG", "sandbox = false\nbuild-users-group =\nsubstituters =\n") // no network, no daemon
	t.Cleanup(func() {
		_ = filepath.Walk(filepath.Join(w.dir, "nix"), func(path string, at os.FileInfo, err error) error { // a store is read-only
			if err == nil && at.IsDir() {
				_ = os.Chmod(path, 0o755)
			}
			return nil
		})
	})
	return w
}

// flake writes one whose runner is QEMU with the bare guest; built with
// nothing but the machine's own shell.
func (w *world) flake(remark string) string {
	w.t.Helper()
	dir := w.qemuRunner(qemu.PVHGuest())
	text := w.read(filepath.Join(dir, "bin/microvm-run"))
	source := filepath.Join(w.dir, "flake")
	do(w.t, os.MkdirAll(source, 0o755))
	do(w.t, os.WriteFile(filepath.Join(source, "run"), []byte(text+"# "+remark+"\n"), 0o644))
	do(w.t, os.WriteFile(filepath.Join(source, "flake.nix"), []byte(`{
  outputs = { self }: let
    runner = name: derivation {
      inherit name;
      system = "x86_64-linux";
      builder = "/bin/sh";
      PATH = "/usr/bin:/bin";
      run = builtins.readFile ./run;
      args = [ "-c" "set -e; mkdir -p $out/bin $out/share/microvm; printf '%s' \"$run\" >$out/bin/microvm-run; chmod 555 $out/bin/microvm-run; echo '#!/bin/sh' >$out/bin/microvm-shutdown; chmod 555 $out/bin/microvm-shutdown" ];
    };
  in {
    packages.x86_64-linux.default = runner "microvm-qemu-web";
    nixosConfigurations.web.config.microvm.declaredRunner = runner "microvm-qemu-other";
  };
}
`), 0o644))
	w.spec.Boot = vm.Boot{Flake: source}
	return source
}

func (w *world) build() (string, error) {
	return w.driver.Build(w.ctx(), w.ref, w.spec, w.paths.Folder)
}

func (w *world) mustBuild() string {
	w.t.Helper()
	out, err := w.build()
	if err != nil {
		w.t.Fatalf("%v\n%s", err, w.read(filepath.Join(w.paths.Folder, logName)))
	}
	return out
}

// builds counts how often nix was asked to build.
func (w *world) builds() int {
	return strings.Count(w.read(filepath.Join(w.paths.Folder, logName)), `"build" "--no-write-lock-file"`)
}

func TestALocalFlakeIsBuiltStartedKeptAndLetGo(t *testing.T) {
	w := flakeWorld(t)
	w.flake("one")
	began := time.Now()
	w.prepare()
	t.Logf("built and prepared in %s", time.Since(began))
	link := filepath.Join(w.paths.Folder, buildName)
	out, err := os.Readlink(link)
	if err != nil || !strings.HasPrefix(out, filepath.Join(w.dir, "nix/store")) || !strings.HasSuffix(out, "-microvm-qemu-web") {
		t.Fatalf("the out-link leads to %q, %v", out, err)
	}
	p := w.launch()
	s, _ := w.attach()
	w.wantState(s, host.GuestRuns)
	do(t, s.Quit(w.ctx()))
	w.wantEnd(p)

	if size := Closure(w.paths.Folder); size < 500 || size > vm.MiB {
		t.Errorf("its closure has %d bytes", size)
	}
	collect := func() {
		t.Helper()
		if b, err := exec.CommandContext(w.ctx(), "nix-store", "--gc").CombinedOutput(); err != nil {
			t.Fatalf("nix-store --gc: %v, %s", err, b)
		}
	}
	collect()
	if _, err := os.Stat(filepath.Join(out, "bin/microvm-run")); err != nil {
		t.Fatalf("collected while the VM exists: %v", err)
	}
	began = time.Now()
	w.prepare()
	t.Logf("prepared again in %s", time.Since(began))
	if n := w.builds(); n != 1 {
		t.Errorf("built %d times, nothing had changed", n)
	}
	do(t, os.RemoveAll(w.paths.Folder)) // what Folders.Discard does
	collect()
	if _, err := os.Stat(out); err == nil {
		t.Error("the build is kept after its VM is gone")
	}
	if Closure(w.paths.Folder) != 0 {
		t.Error("what is gone has a size")
	}
}

func TestAFlakeIsBuiltAnewWhereSomethingChanged(t *testing.T) {
	w := flakeWorld(t)
	source := w.flake("one")
	first := w.mustBuild()
	w.flake("two")
	second := w.mustBuild()
	if second == first {
		t.Error("its files changed, the build didn't")
	}
	w.spec.Boot.Flake = source + "#nixosConfigurations.web.config.microvm.declaredRunner"
	third := w.mustBuild()
	if third == second || !strings.HasSuffix(third, "-microvm-qemu-other") {
		t.Errorf("another reference gives %s", third)
	}
	n := w.builds()
	for _, story := range []struct {
		what string
		harm func()
	}{
		{"the link is gone", func() { do(t, os.Remove(filepath.Join(w.paths.Folder, buildName))) }},
		{"the link leads elsewhere", func() {
			do(t, os.Remove(filepath.Join(w.paths.Folder, buildName)))
			do(t, os.Symlink("/", filepath.Join(w.paths.Folder, buildName)))
		}},
		{"the record is gone", func() { do(t, os.Remove(filepath.Join(w.paths.Folder, recordName))) }},
		{"the record is cut", func() { do(t, os.WriteFile(filepath.Join(w.paths.Folder, recordName), []byte(`{"refer`), 0o600)) }},
	} {
		story.harm()
		if got := w.mustBuild(); got != third {
			t.Errorf("%s: %s, want %s", story.what, got, third)
		}
		n++
		if got := w.builds(); got != n {
			t.Errorf("%s: built %d times, want %d", story.what, got, n)
		}
	}
}

func TestTheLastBuildIsStartedWhereANewOneFails(t *testing.T) {
	w := flakeWorld(t)
	source := w.flake("one")
	first := w.mustBuild()
	do(t, os.WriteFile(filepath.Join(source, "flake.nix"), []byte("{ outputs = { self }: 1 +; }"), 0o644))
	if got := w.mustBuild(); got != first {
		t.Errorf("%s, want the last build %s", got, first)
	}
	if len(w.told) != 1 || !strings.Contains(w.told[0], "can't be built") {
		t.Errorf("told was %q", w.told)
	}
	do(t, os.RemoveAll(source)) // as by a disk that isn't mounted yet
	if got := w.mustBuild(); got != first {
		t.Errorf("%s, want the last build %s", got, first)
	}
	w.driver.config.Nix = "/nowhere/nix"
	if got := w.mustBuild(); got != first {
		t.Errorf("without nix: %s, want the last build %s", got, first)
	}
	w.spec.Boot.Flake = source + "#other"
	_, err := w.build()
	wantKind(t, "another reference without nix", err, host.Broken, "nix-bin", "boot.runner")
	w.driver.config.Nix = ""
	_, err = w.build()
	wantKind(t, "another reference", err, host.Transient, source, logName)
}

func TestAFlakeThatBuildsNoRunnerIsBroken(t *testing.T) {
	w := flakeWorld(t)
	source := w.flake("one")
	text := strings.ReplaceAll(w.read(filepath.Join(source, "flake.nix")), "microvm-run", "other-run")
	do(t, os.WriteFile(filepath.Join(source, "flake.nix"), []byte(text), 0o644))
	err := w.driver.Prepare(w.ctx(), w.ref, w.spec, w.paths)
	wantKind(t, "no runner", err, host.Broken, "bin/microvm-run is missing")
}

func TestABuildEndsWithItsTime(t *testing.T) {
	w := flakeWorld(t)
	source := w.flake("one")
	text := strings.ReplaceAll(w.read(filepath.Join(source, "flake.nix")), "set -e;", "sleep 600;")
	do(t, os.WriteFile(filepath.Join(source, "flake.nix"), []byte(text), 0o644))
	ctx, cancel := context.WithCancel(w.ctx())
	defer cancel()
	go func() {
		defer cancel()
		deadline := time.After(patience)
		for !strings.Contains(w.read(filepath.Join(w.paths.Folder, logName)), "building '") {
			select {
			case <-deadline:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	began := time.Now()
	_, err := w.driver.Build(ctx, w.ref, w.spec, w.paths.Folder)
	wantKind(t, "a build without end", err, host.Transient, "not done within its time")
	if took := time.Since(began); took > patience/2 {
		t.Errorf("ended after %s", took)
	}
}

func TestReferencesThatMeanNothingHereAreRefused(t *testing.T) {
	w := newWorld(t)
	for _, flake := range []string{".", "./x#y", "..", "path:./x", "#web", "-o/etc/passwd", "--help", ""} {
		w.spec.Boot.Flake = flake
		_, err := w.build()
		wantKind(t, fmt.Sprintf("%q", flake), err, host.Broken)
	}
	for flake, local := range map[string]bool{
		"/etc/nixos#web": true, "path:/x": true, "git+file:///x?ref=main#web": true, "github:a/b": false, "git+https://h/x": false, "nixpkgs#hello": false,
	} {
		if isLocal(flake) != local {
			t.Errorf("%s: local is %t", flake, !local)
		}
	}
}

func TestClosureOfEveryNix(t *testing.T) {
	for answer, want := range map[string]vm.Bytes{
		`[{"path":"/nix/store/x","narSize":1,"closureSize":504}]`: 504,
		`{"/nix/store/x":{"closureSize":7,"narSize":1}}`:          7,
		`[]`: -1, `{}`: -1, ``: -1, `null`: -1, `[{"closureSize":-1}]`: -1, `[{"closureSize":1},{"closureSize":2}]`: -1, `["x"]`: -1,
	} {
		got, err := parseClosure([]byte(answer))
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%s: %d, %v", answer, got, err)
		}
	}
}

func TestNixGetsNothingOfOursButItsOwn(t *testing.T) {
	got := nixEnvironment([]string{"PATH=/b", "NIX_PATH=x", "HTTPS_PROXY=p", "SSL_CERT_FILE=c", "BLIXARD_NODE=secret", "NOTIFY_SOCKET=n", "HOME=/root", "LD_PRELOAD=x"})
	if want := "PATH=/b NIX_PATH=x HTTPS_PROXY=p SSL_CERT_FILE=c"; strings.Join(got, " ") != want {
		t.Errorf("%q", got)
	}
}
