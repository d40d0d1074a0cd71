package console

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

func (c *Console) ring() {
	select {
	case c.wake <- struct{}{}:
	default: // it rings already
	}
}

// poke asks for a visit.
func (c *Console) poke(s *stream) {
	c.mu.Lock()
	c.dirty[s] = struct{}{}
	c.mu.Unlock()
	c.ring()
}

// listen turns inotify's events into pokes.
func (c *Console) listen() {
	buf := make([]byte, 16<<10)
	for {
		n, err := c.notify.Read(buf)
		if err != nil {
			return // closed
		}
		c.mu.Lock()
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			watch, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			name := binary.NativeEndian.Uint32(b[12:])
			b = b[unix.SizeofInotifyEvent+int(name):]
			if mask&unix.IN_Q_OVERFLOW != 0 {
				for _, s := range c.streams {
					c.dirty[s] = struct{}{}
				}
				continue
			}
			for s := range c.watches[watch] {
				c.dirty[s] = struct{}{}
				s.watch = -1
			}
			delete(c.watches, watch) // a watch is for one event
		}
		c.mu.Unlock()
		c.ring()
	}
}

func (c *Console) loop() {
	for range c.wake {
		c.mu.Lock()
		closed, visits := c.closed, c.dirty
		c.dirty = map[*stream]struct{}{}
		c.mu.Unlock()
		if closed {
			c.endAll()
			return
		}
		for s := range visits {
			c.visit(s)
		}
	}
}

func (c *Console) endAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.streams {
		if s.resting != nil {
			s.resting.Stop()
		}
	}
}

// visit reads what is new, then rests, or watches if there was nothing.
func (c *Console) visit(s *stream) {
	rested := s.resting == nil || !s.resting.Stop()
	if !c.admit(s) {
		return
	}
	from := s.at
	news, err := c.read(s)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		c.rest(s, retry) // unreadable; seldom, and not worth a busy loop
	case news || !rested:
		c.rest(s, c.pause(s.at-from))
	default:
		s.resting = nil
		c.arm(s)
	}
}

// pause is the least time until the next visit: a log that grew by a line is
// looked at again soon, so that a pattern is seen as it comes, and one that is
// flooded only as often as the configuration says.
func (c *Console) pause(grew int64) time.Duration {
	if grew >= 0 && grew < aLittle {
		return min(soon, c.config.Pause)
	}
	return c.config.Pause
}

const (
	aLittle = 16 << 10             // more than a boot writes between two visits
	soon    = 2 * time.Millisecond // at most 500 visits a second of a log that grows by little
)

// retry is the pause where a log can't be read or no watch is to be had.
const retry = time.Second

func (c *Console) rest(s *stream, d time.Duration) {
	s.resting = time.AfterFunc(d, func() { c.poke(s) })
}

// admit takes in who joined and lets go of who left. It says whether anybody
// follows; else the stream has ended.
func (c *Console) admit(s *stream) bool {
	c.mu.Lock()
	if c.streams[s.path] != s {
		c.mu.Unlock()
		return false
	}
	joined := s.joining
	s.joining = nil
	c.mu.Unlock()
	for _, f := range joined {
		c.catchUp(s, f)
		s.followers = append(s.followers, f)
	}
	s.followers = slices.DeleteFunc(s.followers, func(f *follower) bool { return f.gone.Load() })
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(s.followers)+len(s.joining) > 0 {
		return true
	}
	delete(c.streams, s.path)
	c.unwatch(s)
	return false
}

// unwatch lets go of the stream's watch; c.mu is held.
func (c *Console) unwatch(s *stream) {
	if s.watch < 0 {
		return
	}
	others := c.watches[s.watch]
	delete(others, s)
	if len(others) == 0 {
		delete(c.watches, s.watch)
		c.control(func(fd int) { _, _ = unix.InotifyRmWatch(fd, uint32(s.watch)) })
	}
	s.watch = -1
}

func (c *Console) control(do func(fd int)) {
	if conn, err := c.notify.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// catchUp tells a new follower what the others were told already. The first
// one sets where the stream begins.
func (c *Console) catchUp(s *stream, f *follower) {
	file, size, err := openLog(s.path, os.O_RDONLY)
	if err != nil {
		s.at = max(s.at, 0)
		return
	}
	defer file.Close()
	from := f.offset
	switch {
	case from < 0:
		from = size
	case from > size: // cut since the offset was known
		from = 0
	}
	if s.at < 0 {
		s.at = from
	}
	for from < s.at && !f.gone.Load() {
		n, err := file.ReadAt(c.buf[:min(int64(len(c.buf)), s.at-from)], from)
		if n > 0 {
			f.chunk(c.buf[:n])
		}
		if err != nil {
			return
		}
		from += int64(n)
	}
}

// read tells what is new, at most a burst of it, and cuts a log that is too long.
func (c *Console) read(s *stream) (news bool, err error) {
	file, size, err := openLog(s.path, os.O_RDWR)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if size < s.at { // somebody else cut it
		s.at = 0
	}
	keep := int64(c.config.Keep)
	var unsaved error
	if size > keep {
		unsaved = save(s.path, file, size, keep)
	}
	if size > 2*keep { // a flood that is faster than we read: only its end is told
		s.at = max(s.at, size-burst/2)
	}
	news, whole, err := c.tellBurst(s, file)
	if err != nil || size <= keep || !whole && size <= 4*keep {
		return news, err
	}
	// P15. The VMM appends, so its next write lands at the start. The bound holds
	// even where there was no room to save the tail. What a flood writes in the
	// microseconds since the end of the log was read is lost.
	err = file.Truncate(0)
	s.at = 0
	return true, errors.Join(err, unsaved)
}

// tellBurst says in whole whether it came to the log's end.
func (c *Console) tellBurst(s *stream, file *os.File) (news, whole bool, err error) {
	for told := 0; told < burst; {
		n, err := file.ReadAt(c.buf, s.at)
		if n > 0 {
			s.at += int64(n)
			told += n
			news = true
			c.tell(s, c.buf[:n])
		}
		if errors.Is(err, io.EOF) {
			return news, true, nil
		}
		if err != nil {
			return news, false, err
		}
	}
	return news, false, nil
}

func (c *Console) tell(s *stream, b []byte) {
	for _, f := range s.followers {
		if !f.gone.Load() {
			f.chunk(b)
		}
	}
}

// save keeps the tail of a log that is about to be cut.
func save(path string, file *os.File, size, keep int64) error {
	to, err := os.OpenFile(kept(path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, io.NewSectionReader(file, max(0, size-keep), keep))
	return errors.Join(err, to.Close())
}

// arm waits for the next write, or for the first folder on the way to the log
// that isn't there yet.
func (c *Console) arm(s *stream) {
	path, mask := s.path, uint32(unix.IN_MODIFY|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONESHOT)
	for {
		err := c.watch(s, path, mask)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			c.rest(s, retry) // no watch left (fs.inotify.max_user_watches): look now and then
			return
		}
		path, mask = filepath.Dir(path), unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_ONESHOT
	}
	at, err := os.Lstat(s.path) // what came before the watch was set made no event
	if err == nil && (path != s.path || at.Size() != max(s.at, 0)) {
		c.poke(s)
		return
	}
	if err != nil && path != s.path && existsBetween(path, s.path) {
		c.poke(s)
	}
}

// existsBetween says whether a folder nearer to the log than the watched one has come.
func existsBetween(watched, log string) bool {
	for next := filepath.Dir(log); next != watched && len(next) > len(watched); next = filepath.Dir(next) {
		if _, err := os.Lstat(next); err == nil {
			return true
		}
	}
	return false
}

func (c *Console) watch(s *stream, path string, mask uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unwatch(s)
	var number int
	var err error
	c.control(func(fd int) { number, err = unix.InotifyAddWatch(fd, path, mask|unix.IN_MASK_ADD) })
	if err != nil {
		return err
	}
	s.watch = int32(number)
	if c.watches[s.watch] == nil {
		c.watches[s.watch] = map[*stream]struct{}{}
	}
	c.watches[s.watch][s] = struct{}{}
	return nil
}
