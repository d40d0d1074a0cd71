package meter

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mostOf bounds a file that has a line for each of something.
const mostOf = 4 << 20

var errTooLong = errors.New("the file is longer than anything that was ever seen")

// file reads a small file of the kernel's below a folder. What it returns is
// good until the next one is read.
func (m *Meter) file(dir int, path string) ([]byte, error) {
	fd, err := open(dir, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	n, err := read(fd, m.buf) // the kernel gives such a file whole
	if err != nil {
		return nil, err
	}
	return m.buf[:n], nil
}

// whole reads a file that may be long.
func (m *Meter) whole(path string) ([]byte, error) {
	fd, err := open(unix.AT_FDCWD, path, unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	have := 0
	for {
		if have == len(m.buf) {
			if have >= mostOf {
				return nil, errTooLong
			}
			m.buf = append(m.buf, make([]byte, len(m.buf))...)
		}
		n, err := read(fd, m.buf[have:])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return m.buf[:have], nil
		}
		have += n
	}
}

func open(dir int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func read(fd int, b []byte) (int, error) {
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return max(n, 0), err
		}
	}
}
