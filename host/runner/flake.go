package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const (
	// buildLimit bounds one nix build; the caller's context may end it earlier.
	// What was built until then stays in nix's store, so that a later try goes on.
	buildLimit = time.Hour
	// lookLimit bounds the questions to nix that build nothing.
	lookLimit = time.Minute
	// buildFailed is the first exit code by which nix says that a builder failed.
	buildFailed = 100
)

// build is the record of what FOLDER/runner was built from.
type build struct {
	Reference string    `json:"reference"`
	Source    string    `json:"source,omitempty"` // of a local flake: the hash of its files
	Out       string    `json:"out"`
	Closure   vm.Bytes  `json:"closure"` // with all that it needs; 0: not known
	At        time.Time `json:"at"`
}

// Build makes the runner of spec.Boot.Flake and returns its folder. It builds
// only where something changed: the reference, the files of a flake on this
// machine, or the build is gone. So a start asks no network for what is there,
// and a flake elsewhere that moved on is built anew only if its reference says
// so. Where a changed flake can't be built, the last build of the same
// reference is started, and Tell says so: a node that reboots offline comes back.
//
// The out-link in the VM's folder is nix's garbage-collection root: while the
// VM exists its runner is kept, and removing the folder is all that lets it go.
func (d *Driver) Build(ctx context.Context, ref vm.Ref, spec vm.Spec, folder string) (runner string, err error) {
	flake := spec.Boot.Flake
	if err := checkReference(flake); err != nil {
		return "", err
	}
	last, kept := lastBuild(folder, flake)
	n, err := d.nix(folder)
	if err != nil {
		if kept {
			d.config.Tell(ref, "its flake was not looked at, as nix is gone; the last build is started")
			return last.Out, nil
		}
		return "", err
	}
	defer func() { _ = n.log.Close() }() // a log that can't be written fails nothing
	next := build{Reference: flake}
	if isLocal(flake) {
		next.Source, err = n.source(ctx, flake)
	}
	if err == nil && kept && next.Source == last.Source {
		return last.Out, nil
	}
	if err == nil {
		err = n.build(ctx, folder, &next)
	}
	switch {
	case err == nil:
		return next.Out, nil
	case kept && isThere(filepath.Join(folder, buildName), last.Out):
		d.config.Tell(ref, fmt.Sprintf("its flake changed but can't be built, the build of %s is started: %v", last.At.Format(time.RFC3339), err))
		return last.Out, nil
	}
	return "", host.Fail(host.Transient, "build the flake "+flake, fmt.Errorf("%w; more is in %s", err, filepath.Join(folder, logName)))
}

// Closure is the size of the VM's build with everything that it needs, of
// which other VMs may share much; 0 where nothing was built.
func Closure(folder string) vm.Bytes {
	var b build
	if recall(filepath.Join(folder, recordName), &b) != nil || !isThere(filepath.Join(folder, buildName), b.Out) {
		return 0
	}
	return b.Closure
}

func checkReference(flake string) error {
	switch {
	case strings.HasPrefix(flake, "-"):
		return host.Fail(host.Broken, "build the flake", fmt.Errorf("%q is no flake reference", flake))
	case strings.HasPrefix(flake, "."), strings.HasPrefix(flake, "path:."), strings.HasPrefix(flake, "#"), flake == "":
		return host.Fail(host.Broken, "build the flake", fmt.Errorf("%q is relative to nothing here: give an absolute path", flake))
	}
	return nil
}

// isLocal says whether the flake's files can be looked at without a network.
func isLocal(flake string) bool {
	return slices.ContainsFunc([]string{"/", "path:/", "git+file:/"}, func(p string) bool { return strings.HasPrefix(flake, p) })
}

func lastBuild(folder, flake string) (build, bool) {
	var b build
	err := recall(filepath.Join(folder, recordName), &b)
	return b, err == nil && b.Reference == flake && isThere(filepath.Join(folder, buildName), b.Out)
}

// isThere says whether the out-link leads to the build, and that to a runner.
func isThere(link, out string) bool {
	to, err := os.Readlink(link)
	if err != nil || to != out {
		return false
	}
	_, err = os.Stat(filepath.Join(out, "bin/microvm-run"))
	return err == nil
}

// nix is the program, ready to be asked for one VM.
type nix struct {
	program, folder string
	env             []string
	log             *diary
}

// nixHomes are where nix is, besides in PATH.
var nixHomes = []string{"/run/current-system/sw/bin/nix", "/nix/var/nix/profiles/default/bin/nix", "/usr/bin/nix"}

func (d *Driver) nix(folder string) (*nix, error) {
	const doing = "find nix"
	n := nix{program: d.config.Nix, folder: folder}
	if n.program == "" {
		n.program, _ = exec.LookPath("nix")
	}
	for _, path := range nixHomes {
		if _, err := os.Stat(path); n.program == "" && err == nil {
			n.program = path
		}
	}
	if _, err := os.Stat(n.program); err != nil {
		return nil, host.Fail(host.Broken, doing, errors.New(
			"a flake needs nix, which isn't installed: install it (on Debian: nix-bin and nix-setup-systemd), or name a built runner by boot.runner"))
	}
	cache := d.config.Cache
	if cache == "" {
		cache = filepath.Join(filepath.Dir(filepath.Dir(folder)), "nix")
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, fail("make nix's cache", err)
	}
	n.env = append(nixEnvironment(os.Environ()), "HOME="+cache, "LC_ALL=C")
	log, err := openDiary(folder)
	if err != nil {
		return nil, err
	}
	n.log = log
	return &n, nil
}

// nixEnvironment is what of ours says how nix reaches its store and the network.
func nixEnvironment(all []string) []string {
	var out []string
	for _, e := range all {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "NIX_") || strings.HasPrefix(name, "SSL_CERT_") || name == "PATH" ||
			slices.Contains([]string{"http_proxy", "https_proxy", "no_proxy", "all_proxy"}, strings.ToLower(name)) {
			out = append(out, e)
		}
	}
	return out
}

// ask runs one nix command and returns its standard output. No flake's own
// settings are taken over: those would change how root builds.
func (n *nix) ask(ctx context.Context, limit time.Duration, arguments ...string) ([]byte, error) {
	argv := append([]string{
		n.program, "--extra-experimental-features", "nix-command flakes", "--option", "accept-flake-config", "false",
		"--option", "connect-timeout", "10",
	}, arguments...)
	var out bytes.Buffer
	n.log.begin(argv)
	c := call{argv: argv, dir: n.folder, env: n.env, limit: limit, out: &bounded{into: &out, left: int(maxOutput)}, errors: n.log}
	err := c.run(ctx)
	return out.Bytes(), n.log.quote(err)
}

// source is the hash of a local flake's files, its lock among them.
func (n *nix) source(ctx context.Context, flake string) (string, error) {
	address, _, _ := strings.Cut(flake, "#")
	out, err := n.ask(ctx, lookLimit, "flake", "metadata", "--json", "--no-write-lock-file", address)
	if err != nil {
		return "", err
	}
	var answer struct {
		Locked struct {
			NarHash string `json:"narHash"`
		} `json:"locked"`
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.Locked.NarHash == "" {
		return "", fmt.Errorf("nix flake metadata: not understood: %.80q", out)
	}
	return answer.Locked.NarHash, nil
}

// build tries again offline what failed otherwise than in a builder: what is
// there already may be enough.
func (n *nix) build(ctx context.Context, folder string, b *build) error {
	link := filepath.Join(folder, buildName)
	if to, err := os.Readlink(link); err == nil && !isThere(link, to) {
		if err := os.Remove(link); err != nil { // nix replaces only what leads into its store
			return err
		}
	}
	arguments := []string{"build", "--no-write-lock-file", "--out-link", link, b.Reference}
	_, err := n.ask(ctx, buildLimit, arguments...)
	if err != nil && ctx.Err() == nil && code(err) < buildFailed {
		if _, again := n.ask(ctx, buildLimit, append([]string{"--offline"}, arguments...)...); again == nil {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	if b.Out, err = os.Readlink(link); err != nil {
		return err
	}
	b.At = time.Now().UTC()
	b.Closure, err = n.closure(ctx, b.Out)
	if err != nil {
		b.Closure = 0 // only counting suffers
	}
	return note(filepath.Join(folder, recordName), b)
}

func (n *nix) closure(ctx context.Context, out string) (vm.Bytes, error) {
	answer, err := n.ask(ctx, lookLimit, "path-info", "--closure-size", "--json", out)
	if err != nil {
		return 0, err
	}
	return parseClosure(answer)
}

// parseClosure reads a list of paths, as nix wrote until 2.18, or a map by path.
func parseClosure(answer []byte) (vm.Bytes, error) {
	type info struct {
		ClosureSize vm.Bytes `json:"closureSize"`
	}
	var list []info
	if json.Unmarshal(answer, &list) != nil {
		var byPath map[string]info
		if err := json.Unmarshal(answer, &byPath); err != nil {
			return 0, fmt.Errorf("nix path-info: not understood: %.80q", answer)
		}
		for _, i := range byPath {
			list = append(list, i)
		}
	}
	if len(list) != 1 || list[0].ClosureSize < 0 {
		return 0, fmt.Errorf("nix path-info: tells of %d paths", len(list))
	}
	return list[0].ClosureSize, nil
}
