package qemu

import (
	"bytes"
	"errors"
	"io"
)

// errLineTooLong ends a wire on which no end of a line comes.
var errLineTooLong = errors.New("the line is longer than the wire allows")

// keptBuffer is what a wire at rest may hold. Each VM has two, and most lines of
// either are shorter.
const keptBuffer = 512

// lines cuts a stream into lines of bounded length.
type lines struct {
	from  io.Reader
	limit int
	buf   []byte // what was read and not yet returned
	seen  int    // bytes of buf that hold no newline
	spare []byte // what buf lies in
	lost  int    // bytes that the last errLineTooLong threw away
}

// next returns a line without its newline. It is valid until the next call.
// After errLineTooLong the rest of that line looks like a line of its own.
func (l *lines) next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.seen:], '\n'); i >= 0 {
			line := l.buf[:l.seen+i]
			l.buf, l.seen = l.buf[l.seen+i+1:], 0
			if len(line) > l.limit {
				l.lost = len(line)
				return nil, errLineTooLong
			}
			return line, nil
		}
		l.seen = len(l.buf)
		if l.seen > l.limit {
			l.lost, l.buf, l.seen = l.seen, nil, 0
			return nil, errLineTooLong
		}
		if err := l.fill(); err != nil {
			return nil, err
		}
	}
}

// fill reads once. A stream at rest keeps a small buffer, however long its last line was.
func (l *lines) fill() error {
	if cap(l.spare) == 0 || cap(l.spare) > keptBuffer && len(l.buf) == 0 {
		l.spare = make([]byte, keptBuffer)
	}
	if len(l.buf) == cap(l.spare) { // full: one long line
		l.spare = make([]byte, 2*cap(l.spare))
	}
	full := l.spare[:cap(l.spare)]
	kept := copy(full, l.buf)
	n, err := l.from.Read(full[kept:])
	l.buf = full[:kept+n]
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}
