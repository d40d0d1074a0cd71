package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// moduleList is the file of that name in the initramfs: a group and a module a
// line, each module after what it needs.
type moduleList []struct{ group, name string }

func readModules(path string) moduleList {
	b, err := readFile(path)
	if err != nil {
		return nil
	}
	var out moduleList
	for line := range strings.Lines(string(b)) {
		if group, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out = append(out, struct{ group, name string }{group, name})
		}
	}
	return out
}

// load loads the modules of a group. One that fails keeps none of the others
// from being loaded; the failures are joined.
func (l moduleList) load(group string) error {
	var failed []error
	for _, m := range l {
		if m.group != group {
			continue
		}
		if err := loadModule("/modules/" + m.name + ".ko"); err != nil {
			failed = append(failed, errors.New("module "+m.name+": "+err.Error()))
		}
	}
	return errors.Join(failed...)
}

func loadModule(path string) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.FinitModule(fd, "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}
