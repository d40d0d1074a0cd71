// Package console follows the consoles' logs without polling, and keeps them
// small.
//
//	guest ─▶ VMM ─ append ─▶ console-N.log ─ inotify ─▶ loop ─ chunk ─▶ followers
//	                              │ over Keep
//	                              └─ tail ─▶ console-N.log.1, then cut to nothing
//
// One inotify descriptor and two goroutines serve all logs. A watch is for one
// event: it wakes the loop, which reads and then looks again only after Pause,
// until nothing new is there; then the watch is set again. So a flood costs ten
// visits a second, and an idle console costs nothing.
package console

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Config bounds a Console.
type Config struct {
	Keep  vm.Bytes      // a log that is longer is cut; 0: 4 MiB
	Pause time.Duration // least time between two visits of one log; 0: 100 ms
}

// The defaults: what a person may want to read of one boot, and what feels
// like at once to the one who reads along.
const (
	defaultKeep  = 4 * vm.MiB
	defaultPause = 100 * time.Millisecond
)

// burst is the most that one visit reads, so that a flood of one guest doesn't
// hold up the others' consoles.
const burst = 1 << 20

// Console is the host.Console of one node. Close it when done.
type Console struct {
	config Config
	notify *os.File // inotify

	mu      sync.Mutex
	streams map[string]*stream
	watches map[int32]map[*stream]struct{}
	dirty   map[*stream]struct{}
	closed  bool
	persons map[string]int // who is at which console's socket

	wake chan struct{}
	done sync.WaitGroup
	buf  []byte // of the loop alone
}

// stream is one followed log. All but joining and dropped is the loop's.
type stream struct {
	path      string
	at        int64 // what lies before was told
	followers []*follower
	joining   []*follower // under Console.mu
	watch     int32       // -1: none
	resting   *time.Timer // nil: not between two visits
}

type follower struct {
	offset int64
	chunk  func([]byte)
	gone   atomic.Bool
}

var _ host.Console = (*Console)(nil)

// New opens inotify and starts the two goroutines.
func New(c Config) (*Console, error) {
	if c.Keep <= 0 {
		c.Keep = defaultKeep
	}
	if c.Pause <= 0 {
		c.Pause = defaultPause
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, host.Fail(host.Transient, "open inotify (fs.inotify.max_user_instances bounds it)", err)
	}
	out := &Console{
		config: c, notify: os.NewFile(uintptr(fd), "inotify"), streams: map[string]*stream{},
		watches: map[int32]map[*stream]struct{}{}, persons: map[string]int{}, dirty: map[*stream]struct{}{}, wake: make(chan struct{}, 1),
		buf: make([]byte, 64<<10),
	}
	out.done.Go(out.listen)
	out.done.Go(out.loop)
	return out, nil
}

// Close ends all following and waits until no chunk is being told.
func (c *Console) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.mu.Unlock()
	c.ring()
	err := c.notify.Close()
	c.done.Wait()
	return err
}

// Follow tells chunk what the log holds from offset on (negative: from its end
// on) and all that comes. The log and its folder may come later. chunk must not
// block, and must not keep its argument. Where a guest writes faster than it is
// read, what was cut away is missing.
func (c *Console) Follow(f host.Paths, offset int64, chunk func(b []byte)) (cancel func(), err error) {
	if !filepath.IsAbs(f.Log) {
		return nil, host.Fail(host.Broken, "follow "+f.Log, errors.New("the path isn't absolute"))
	}
	one := &follower{offset: offset, chunk: chunk}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, host.Fail(host.Gone, "follow "+f.Log, os.ErrClosed)
	}
	s := c.streams[f.Log]
	if s == nil {
		s = &stream{path: f.Log, at: -1, watch: -1}
		c.streams[f.Log] = s
	}
	s.joining = append(s.joining, one)
	c.dirty[s] = struct{}{}
	c.mu.Unlock()
	c.ring()
	return func() {
		if !one.gone.Swap(true) {
			c.poke(s)
		}
	}, nil
}

// maxTail bounds what one Tail reads into memory.
const maxTail = 16 << 20

// Tail returns at most the n last bytes, those that were cut away included.
func (c *Console) Tail(f host.Paths, n int) ([]byte, error) {
	doing := "read " + f.Log
	n = min(max(n, 0), maxTail)
	out, err := tailOf(f.Log, n)
	if err != nil {
		return nil, host.Fail(kindOf(err), doing, err)
	}
	if len(out) < n {
		before, err := tailOf(kept(f.Log), n-len(out))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, host.Fail(kindOf(err), doing, err)
		}
		out = append(before, out...)
	}
	return out, nil
}

func tailOf(path string, n int) ([]byte, error) {
	file, size, err := openLog(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	from := max(0, size-int64(n))
	out := make([]byte, min(size, int64(n)))
	got, err := file.ReadAt(out, from)
	if errors.Is(err, io.EOF) { // cut meanwhile
		err = nil
	}
	return out[:got], err
}

func kept(log string) string { return log + ".1" }

var errNoLog = errors.New("there is something else than a regular file")

func openLog(path string, flags int) (*os.File, int64, error) {
	file, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	at, err := file.Stat()
	if err == nil && !at.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", path, errNoLog)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, at.Size(), nil
}

func kindOf(err error) host.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return host.Gone
	case errors.Is(err, fs.ErrPermission):
		return host.Denied
	case errors.Is(err, errNoLog), errors.Is(err, unix.ELOOP):
		return host.Broken
	}
	return host.Transient
}
