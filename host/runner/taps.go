package runner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const (
	maxTaps = 16
	// tapLimit bounds bin/tap-up and bin/tap-down: a tap takes milliseconds, its
	// removal some tens.
	tapLimit = 30 * time.Second
	// tapUser is written into the bin/tap-up of microvm.nix.
	tapUser = "microvm"
)

// taps is the record of the links that were about to be made. It is written
// before the first one, so that a crash leaves none that we don't know as ours.
type taps struct {
	Incarnation vm.Incarnation `json:"incarnation"`
	BootID      vm.BootID      `json:"bootID"` // links end with the boot
	Runner      string         `json:"runner"`
	Names       []string       `json:"names"`
}

// raise makes the runner's taps: by its own bin/tap-up, which may do more, or
// by ourselves where it has none. It runs as root in the VM's folder, and it
// deletes what has its name; so a link that is there and isn't provably this
// VM's is Broken before anything is done (P8).
func (d *Driver) raise(ctx context.Context, ref vm.Ref, folder, built string, uid, gid int) error {
	names, err := tapNames(built)
	if err != nil || len(names) == 0 {
		return err
	}
	doing := "make the links of the runner"
	if os.Geteuid() != 0 {
		return host.Fail(host.Denied, doing, errors.New("only root may: run the node as root, or build the runner with user networking"))
	}
	path := filepath.Join(folder, tapsName)
	var last taps
	if err := recall(path, &last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		last = taps{} // half a record proves nothing
	}
	for _, name := range names {
		if l := look(name); l != nil && !d.owns(ref, *l, last) {
			return host.Fail(host.Broken, doing, fmt.Errorf("%s, and the runner's tap-up would delete it: remove it, or build the runner with another name", l))
		}
	}
	next := taps{Incarnation: ref.Incarnation, BootID: ref.BootID, Runner: built, Names: names}
	for _, name := range last.Names { // of an earlier build that was never released
		if last.BootID == ref.BootID && !slices.Contains(next.Names, name) {
			next.Names = append(next.Names, name)
		}
	}
	if err := note(path, next); err != nil {
		return fail(doing, err)
	}
	if err := d.up(ctx, folder, built, names); err != nil {
		return err
	}
	for _, name := range names {
		if err := d.handOver(ref, name, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func (d *Driver) up(ctx context.Context, folder, built string, names []string) error {
	script := filepath.Join(built, "bin/tap-up")
	if _, err := os.Stat(script); err == nil {
		err := byScript(ctx, folder, script)
		if _, unknown := user.Lookup(tapUser); err != nil && unknown != nil {
			return fail("make the links of the runner", fmt.Errorf(
				"%w; this machine has no user %s, for whom microvm.nix makes taps: add it by useradd --system %[2]s", err, tapUser))
		}
		return err
	}
	flags, err := tapFlags(built)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := makeTap(name, flags); err != nil {
			return fail("make the tap "+name, err)
		}
	}
	return nil
}

// byScript runs one of the runner's scripts as root. It runs where the VM can
// write nothing.
func byScript(ctx context.Context, folder, script string) error {
	log, err := openDiary(folder)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // a log that can't be written fails nothing
	c := call{argv: []string{script}, dir: folder, env: environment("/"), limit: tapLimit, errors: log}
	log.begin(c.argv)
	if err := log.quote(c.run(ctx)); err != nil {
		return host.Fail(host.Transient, "run "+script, fmt.Errorf("%w; more is in %s", err, filepath.Join(folder, logName)))
	}
	return nil
}

// handOver marks the tap as the VM's, and lets the VM's user and nobody else
// open it: microvm.nix makes taps for a user called microvm.
func (d *Driver) handOver(ref vm.Ref, name string, uid, gid int) error {
	doing := "hand the tap " + name + " to the VM"
	l := look(name)
	if l == nil {
		return host.Fail(host.Broken, doing, errors.New("the runner's tap-up didn't make it"))
	}
	if l.flags == 0 {
		return host.Fail(host.Broken, doing, errors.New("the runner's tap-up made it, but not as a tap"))
	}
	if err := l.mark(d.mark(ref.VM)); err != nil {
		return fail(doing, err)
	}
	if err := l.give(uid, gid); err != nil {
		return fail(doing, err)
	}
	return nil
}

// lower takes away the taps of the last start, as far as they are this VM's: by
// bin/tap-down of the runner that made them, and what is left by ourselves.
func (d *Driver) lower(ctx context.Context, ref vm.Ref, folder string) error {
	path := filepath.Join(folder, tapsName)
	var last taps
	err := recall(path, &last)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		last = taps{} // cut by a power cut, which ended the links too
	case err != nil:
		return fail("read "+path, err)
	case last.Incarnation > ref.Incarnation:
		return nil // they are a successor's by now
	}
	ours, others := d.present(ref, last)
	script := filepath.Join(last.Runner, "bin/tap-down")
	if len(ours) > 0 && others == 0 && judge(script) == "" {
		if err := byScript(ctx, folder, script); err != nil && ctx.Err() != nil {
			return err
		}
		ours, _ = d.present(ref, last)
	}
	for _, l := range ours {
		if err := l.remove(); err != nil {
			return fail("remove the tap "+l.name, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail("forget the links of the runner", err)
	}
	return nil
}

func (d *Driver) present(ref vm.Ref, last taps) (ours []link, others int) {
	for _, name := range last.Names {
		l := look(name)
		switch {
		case l == nil:
		case d.owns(ref, *l, last):
			ours = append(ours, *l)
		default:
			others++
		}
	}
	return ours, others
}

// mark is a link's alias that says whose it is.
func (d *Driver) mark(id vm.ID) string { return host.RunnerMark(d.config.Node, id) }

// owns says whether a link is provably the VM's: it carries the mark, or it is
// a tap that nobody marked, of a name that we noted in this boot before we let
// tap-up make it.
func (d *Driver) owns(ref vm.Ref, l link, last taps) bool {
	if l.alias != "" {
		return l.alias == d.mark(ref.VM)
	}
	return l.flags != 0 && last.BootID == ref.BootID && ref.BootID != "" && slices.Contains(last.Names, l.name)
}

// nodeName are the names that the node itself gives; see host.LinkName.
var nodeName = regexp.MustCompile(`^blx[0-9]+n[0-9]+$`)

// tapNames reads share/microvm/tap-interfaces; none where there is no such file.
func tapNames(built string) ([]string, error) {
	path := filepath.Join(built, "share/microvm/tap-interfaces")
	doing := "read " + path
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(doing, err)
	}
	defer file.Close()
	var names []string
	lines := bufio.NewScanner(io.LimitReader(file, 4096))
	for lines.Scan() {
		name := strings.TrimSpace(lines.Text())
		switch {
		case name == "" || slices.Contains(names, name):
		case !vm.IsLinkName(name):
			return nil, host.Fail(host.Broken, doing, fmt.Errorf("%.40q is no name of a link (letters, digits, _ . -, at most 15)", name))
		case nodeName.MatchString(name):
			return nil, host.Fail(host.Broken, doing, fmt.Errorf("%s is a name that the node itself gives: choose another", name))
		default:
			names = append(names, name)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fail(doing, err)
	}
	if len(names) > maxTaps {
		return nil, host.Fail(host.Broken, doing, fmt.Errorf("%d taps; a VM has at most %d", len(names), maxTaps))
	}
	return names, nil
}
