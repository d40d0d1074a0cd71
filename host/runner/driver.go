package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Names in the VM's folder.
const (
	workName   = "work"        // the runner's working folder, the VM's own; its volumes are here
	bootedName = "booted.json" // the runner of the last start
	logName    = "runner.log"  // what nix, tap-up and tap-down wrote
	buildName  = "runner"      // nix's out-link, which keeps the build from its garbage collector
	recordName = "runner.json" // what was built from what
	tapsName   = "taps.json"   // the taps of the last start
	pidName    = "vmm.pid"     // in work
)

// Config is what a Driver has to know of the machine.
type Config struct {
	Owners   host.Owners // the user that a VM's runner runs as
	KVMGroup int         // the group of /dev/kvm; 0: none
	LogLimit vm.Bytes    // bounds a console log while no daemon looks; 0: 64 MiB
	Node     string      // marks this node's taps, so that two nodes on a machine never share one
	Nix      string      // absolute path of nix; empty: it is searched for
	Cache    string      // where nix keeps what it downloads and evaluates; empty: STATE/nix

	// Tell hears what somebody should know and no error says. nil: nobody does.
	Tell func(ref vm.Ref, sentence string)
}

// Driver is the host.Driver of built runners.
type Driver struct{ config Config }

var _ host.Driver = (*Driver)(nil)

// New makes a driver. It touches nothing.
func New(c Config) *Driver {
	if c.LogLimit == 0 {
		c.LogLimit = 64 * vm.MiB
	}
	if c.Tell == nil {
		c.Tell = func(vm.Ref, string) {}
	}
	return &Driver{config: c}
}

// Prepare builds a flake if need be, checks the runner, makes its working
// folder and its taps. Repeating it is safe.
func (d *Driver) Prepare(ctx context.Context, ref vm.Ref, spec vm.Spec, f host.Paths) error {
	if err := followable(spec); err != nil {
		return err
	}
	dir := spec.Boot.Runner
	if spec.Boot.Flake != "" {
		built, err := d.Build(ctx, ref, spec, f.Folder)
		if err != nil {
			return err
		}
		dir = built
	}
	built, err := Check(dir)
	if err != nil {
		return err
	}
	uid, gid := d.config.Owners.Of(ref.Slot)
	if err := makeWork(f.Folder, uid, gid); err != nil {
		return err
	}
	s, err := readScript(filepath.Join(built, "bin/microvm-run"))
	if err != nil {
		return err
	}
	if err := tidy(f.Folder, s); err != nil {
		return err
	}
	if err := note(filepath.Join(f.Folder, bootedName), start{Incarnation: ref.Incarnation, Runner: built, QMP: s.QMP}); err != nil {
		return fail("note the runner that is started", err)
	}
	return d.raise(ctx, ref, f.Folder, built, uid, gid)
}

// followable refuses what a runner was built without and can't be told: it
// would be missed in silence.
func followable(spec vm.Spec) error {
	const doing = "follow the spec"
	switch {
	case len(spec.Disks) > 0:
		return host.Fail(host.Broken, doing, errors.New("a VM of a runner has no disks of its own: build it with volumes"))
	case len(spec.Networks) > 0:
		return host.Fail(host.Broken, doing, errors.New("a VM of a runner has no networks of its own: build it with interfaces"))
	}
	for _, c := range spec.Health {
		if c.Type == vm.CheckAgent {
			return host.Fail(host.Broken, doing, errors.New("a runner has no guest agent that is reached from here: check the console, or the vmm"))
		}
	}
	return nil
}

// Release takes the taps back, by the scripts of the runner that was started,
// whatever the spec says by now. Repeating it is safe.
func (d *Driver) Release(ctx context.Context, ref vm.Ref, _ vm.Spec, f host.Paths) error {
	if err := d.lower(ctx, ref, f.Folder); err != nil {
		return err
	}
	at, err := started(f.Folder)
	if err == nil && at.Incarnation > ref.Incarnation {
		return nil // a successor's
	}
	if err := os.Remove(filepath.Join(f.Folder, bootedName)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail("forget the runner that was started", err)
	}
	return nil
}

// Started says whether the VM's last start was by a runner and wasn't released
// yet. A spec may have changed meanwhile; what was started decides on how it is
// spoken to and ended.
func Started(f host.Paths) bool {
	_, err := started(f.Folder)
	return err == nil
}

// become notes the VMM's pid, which exec keeps, for a bin/microvm-shutdown that
// asks for it.
const become = `echo $$ 2>/dev/null >` + pidName + `; exec "$0"`

// Command computes what to launch; Prepare comes first.
func (d *Driver) Command(ref vm.Ref, _ vm.Spec, f host.Paths) (host.Command, error) {
	at, err := started(f.Folder)
	if err != nil {
		return host.Command{}, err
	}
	built, err := Check(at.Runner)
	if err != nil {
		return host.Command{}, err
	}
	run := filepath.Join(built, "bin/microvm-run")
	s, err := readScript(run)
	if err != nil {
		return host.Command{}, err
	}
	work := filepath.Join(f.Folder, workName)
	c := host.Command{
		Ref: ref, Argv: []string{"/bin/sh", "-c", become, run}, Dir: work, Stdout: f.Log, Stderr: f.Stderr,
		Env:     environment(work),
		MaxFile: s.maxFile(work, d.config.LogLimit),
		Needs:   s.needs(work),
	}
	c.UID, c.GID = d.config.Owners.Of(ref.Slot)
	if d.config.KVMGroup != 0 {
		c.Groups = []int{d.config.KVMGroup} // the runner chooses its acceleration itself
	}
	return c, nil
}

// environment of a runner's scripts. Those of microvm.nix name their programs by path.
func environment(home string) []string {
	return []string{"PATH=/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=" + home}
}

// start is what the VM was last started with: what ends it has to be of the
// same build as what began it.
type start struct {
	Incarnation vm.Incarnation `json:"incarnation"`
	Runner      string         `json:"runner"`
	QMP         string         `json:"qmp,omitempty"`
}

func started(folder string) (start, error) {
	var s start
	if err := recall(filepath.Join(folder, bootedName), &s); err != nil {
		return s, fail("find the runner that was started", err)
	}
	return s, nil
}

func makeWork(folder string, uid, gid int) error {
	doing := "make the runner's folder"
	place, err := os.OpenRoot(folder)
	if err != nil {
		return fail(doing, err)
	}
	defer place.Close()
	if err := place.Mkdir(workName, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fail(doing, err)
	}
	at, err := place.Lstat(workName)
	if err != nil {
		return fail(doing, err)
	}
	if !at.IsDir() {
		return host.Fail(host.Broken, doing, fmt.Errorf("%s is in the way: it is no folder", filepath.Join(folder, workName)))
	}
	if err := place.Chmod(workName, 0o700); err != nil {
		return fail(doing, err)
	}
	if err := place.Lchown(workName, uid, gid); err != nil {
		return fail(doing, err)
	}
	return nil
}

// owner of the runner's folder is the VM's user: its parent is root's, so
// nobody else can have put it there.
func owner(folder string) (uid, gid int, err error) {
	at, err := os.Lstat(filepath.Join(folder, workName))
	if err != nil {
		return 0, 0, fail("find the runner's folder", err)
	}
	s, ok := at.Sys().(*syscall.Stat_t)
	if !ok || !at.IsDir() {
		return 0, 0, host.Fail(host.Broken, "find the runner's folder", errors.New("it is no folder"))
	}
	return int(s.Uid), int(s.Gid), nil
}

// tidy removes what the last incarnation left and the next one would be taken
// for: its pid, and a socket on which nobody listens.
func tidy(folder string, s script) error {
	work, err := os.OpenRoot(filepath.Join(folder, workName))
	if err != nil {
		return fail("open the runner's folder", err)
	}
	defer work.Close()
	names := []string{pidName}
	if s.QMP != "" && filepath.IsLocal(s.QMP) {
		names = append(names, s.QMP)
	}
	for _, name := range names {
		at, err := work.Lstat(name)
		if err != nil || at.IsDir() {
			continue // what else is wrong with it, the VMM will say
		}
		if err := work.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fail("remove "+name, err)
		}
	}
	return nil
}
