package meter

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxArgv bounds a command line. The longest that we make, of a VMM with all its
// disks and NICs, is a fraction of it; a VMM may write over its own as much as
// it likes.
const maxArgv = 64 << 10

// maxArgs bounds the words in it: empty ones would cost more than their bytes.
const maxArgs = 1024

// Argv reads the command line of one VMM.
func (m *Meter) Argv(p vm.Process) ([]string, error) {
	const doing = "read the VMM's command line"
	buf := make([]byte, maxArgv)
	dir, _, err := m.proved(p, doing, buf)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := open(dir, "cmdline", unix.O_RDONLY)
	if err != nil {
		return nil, host.Fail(lookFailed(err), doing, err)
	}
	defer func() { _ = unix.Close(fd) }()
	have := 0
	for have < len(buf) {
		n, err := read(fd, buf[have:])
		if err != nil {
			return nil, host.Fail(lookFailed(err), doing, err)
		}
		if n == 0 {
			break
		}
		have += n
	}
	return words(buf[:have]), nil
}

// words are the arguments, each of which a NUL ends. What is beyond the bounds is left out.
func words(b []byte) (out []string) {
	for len(b) > 0 && len(out) < maxArgs {
		one, rest, _ := bytes.Cut(b, []byte{0})
		out = append(out, strings.ToValidUTF8(string(one), "\uFFFD"))
		b = rest
	}
	return out
}
