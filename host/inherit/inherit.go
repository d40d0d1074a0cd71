// Package inherit makes what a VMM inherits: its standard files, listening
// sockets and opened taps, as descriptors whose numbers its command line names.
//
//	0 /dev/null   1 Stdout   2 Stderr   3… {fd:qmp}, {fd:agent}, {fd:console}, {fd:net0}, …, {fd:saved}
package inherit

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// Set is what one VMM inherits, open in this process. Close it once the VMM has it.
type Set struct {
	Argv  []string // the command's, with numbers where it named descriptors
	files []int    // by the number that the VMM knows them by; two may be one
}

// Check refuses a command line that names what isn't made.
func Check(c host.Command) error {
	known := map[string]int{}
	for i, name := range names(c) {
		if _, twice := known[name]; twice {
			return fmt.Errorf("two descriptors are called %q", name)
		}
		known[name] = i
	}
	for _, a := range withNumbers(c.Argv, known) {
		if strings.Contains(a, "{fd:") {
			return fmt.Errorf("argument %q names a descriptor that isn't made", a)
		}
	}
	return nil
}

// names are those of the descriptors from 3 on, in order.
func names(c host.Command) []string {
	var out []string
	for _, s := range c.Sockets {
		out = append(out, s.Name)
	}
	for _, t := range c.Taps {
		out = append(out, t.Name)
	}
	for _, f := range c.Files {
		out = append(out, f.Name)
	}
	return out
}

// Open makes all of it. Its error is a port's, doing is what it interrupts.
func Open(c host.Command, doing string) (*Set, error) {
	s := &Set{}
	if err := s.open(c); err != nil {
		s.Close()
		return nil, host.Fail(KindOf(err), doing, err)
	}
	numbers := map[string]int{}
	for i, name := range names(c) {
		numbers[name] = i + 3
	}
	s.Argv = withNumbers(c.Argv, numbers)
	return s, nil
}

func (s *Set) open(c host.Command) error {
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	s.files = append(s.files, null)
	said, err := logFile(c.Stderr)
	if err != nil {
		return err
	}
	out := said
	if c.Stdout != "" && c.Stdout != c.Stderr {
		if out, err = logFile(c.Stdout); err != nil {
			return errors.Join(err, unix.Close(said))
		}
	}
	s.files = append(s.files, out, said)
	for _, one := range c.Sockets {
		fd, err := listen(one.Path)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", one.Path, err)
		}
		s.files = append(s.files, fd)
	}
	for _, one := range c.Taps {
		fd, err := openTap(one.Link)
		if err != nil {
			return fmt.Errorf("open tap %s: %w", one.Link, err)
		}
		s.files = append(s.files, fd)
	}
	for _, one := range c.Files {
		fd, err := regular(one.Path)
		if err != nil {
			return fmt.Errorf("open %s: %w", one.Path, err)
		}
		s.files = append(s.files, fd)
	}
	return nil
}

// logFile opens a file that a VMM appends to; empty: nothing is kept.
func logFile(path string) (int, error) {
	flags := unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if path == "" {
		path, flags = os.DevNull, unix.O_WRONLY|unix.O_CLOEXEC
	}
	fd, err := unix.Open(path, flags, 0o640)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

var errNoFile = errors.New("it is no regular file")

// regular opens a file for reading, and nothing else: opening a pipe would wait.
func regular(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var at unix.Stat_t
	if err = unix.Fstat(fd, &at); err == nil && at.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNoFile
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// Files are the descriptors here; the place of each is its number in the VMM.
func (s *Set) Files() []uintptr {
	out := make([]uintptr, len(s.files))
	for i, fd := range s.files {
		out[i] = uintptr(fd)
	}
	return out
}

// Close closes what is open here. Repeating it is safe.
func (s *Set) Close() {
	closed := -1
	for _, fd := range s.files {
		if fd != closed { // 1 and 2 may be one
			_ = unix.Close(fd)
		}
		closed = fd
	}
	s.files = nil
}

func withNumbers(argv []string, numbers map[string]int) []string {
	var pairs []string
	for name, n := range numbers {
		pairs = append(pairs, "{fd:"+name+"}", strconv.Itoa(n))
	}
	put := strings.NewReplacer(pairs...)
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = put.Replace(a)
	}
	return out
}

// KindOf tells what may heal by itself from what somebody has to change.
func KindOf(err error) host.Kind {
	for _, e := range []error{
		unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ENOSPC, unix.EDQUOT, unix.EINTR, unix.EIO, unix.ETXTBSY, unix.ENOBUFS,
		unix.EBUSY, errNoLink,
	} {
		if errors.Is(err, e) {
			return host.Transient
		}
	}
	if errors.Is(err, unix.EPERM) {
		return host.Denied
	}
	return host.Broken
}
