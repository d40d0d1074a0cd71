package persistence

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Sizes of Pebble for a store of a few MiB.
const (
	cacheBytes    = 2 << 20
	memtableBytes = 2 << 20 // starts small and doubles up to this
	openFiles     = 128

	// formatVersion is pinned: raising it is one way, so a release may do that
	// only when the release before it can read the new format. This one has
	// sync offsets in the log's chunks, which tell a torn tail from a damaged log.
	formatVersion = pebble.FormatWALSyncChunks

	// lastWords is the time between the error of a Commit and the end of the
	// process, so that the caller hears of it.
	lastWords = 200 * time.Millisecond
)

// Options are what Open may be told; the zero value is right for a daemon.
type Options struct {
	FS vfs.FS // nil: the disk
	// Node is the id of this node, which the witness repeats. Empty: not compared.
	Node string
	// Witness is the path of the file that remembers, apart from the store's
	// folder, how far the store had come. Empty: a lost store can't be told from a first start.
	Witness string
	// Ballast is the path of a file of 16 MiB on the store's disk that gives room
	// when the disk is full. Empty: a full disk ends the process.
	Ballast string
	// Log takes what the store has to say. It may be called from any goroutine. Nil: nothing is said.
	Log func(level Level, message string)
	// Fatal ends the process, non-zero, because of an error of the disk. It must
	// not return: where Pebble calls it, Pebble holds locks that nobody gives
	// back, and a Commit or a Close would wait for ever. Nil: one line on standard error and exit status 1.
	Fatal func(message string)
	// Observe is told how long each successful Commit, Note and SetMeta took, sync included.
	Observe func(took time.Duration)

	// logBytes of zeros are written into a new log; tests in memory copy fewer.
	logBytes int
}

// Level is the weight of a line of the log.
type Level string

// The levels.
const (
	Debug Level = "debug" // Pebble's own chatter
	Info  Level = "info"
	Warn  Level = "warn"  // the disk is slow, or writes wait
	Error Level = "error" // something is damaged, or the process is about to end
)

func (o *Options) fill() {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.logBytes == 0 {
		o.logBytes = writtenLogBytes
	}
	if o.Log == nil {
		o.Log = func(Level, string) {}
	}
	if o.Fatal == nil {
		o.Fatal = func(message string) {
			fmt.Fprintln(os.Stderr, message)
			os.Exit(1)
		}
	}
	if o.Observe == nil {
		o.Observe = func(time.Duration) {}
	}
}

// Pebble is the Store on disk.
type Pebble struct {
	journal

	dir  string
	o    Options
	db   *pebble.DB
	lock *pebble.Lock
	said *pebbleLog
	id   string // the store's own, random

	order sync.Mutex // held while a batch gets its number and goes into the log: both have one order
	next  uint64     // the last number given

	ballast *ballast

	witnessing sync.Mutex // held while the witness is written
	witnessed  Witness    // what it was told last

	inUse  sync.RWMutex // read: a method is under way
	closed bool

	failure atomic.Pointer[error] // the first error of the disk: final
	commits atomic.Uint64
	failed  atomic.Uint64
}

// Close implements Store. A store that failed is left as it is: its process is about to end.
func (p *Pebble) Close() error {
	p.inUse.Lock()
	defer p.inUse.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	if err := p.broke(); err != nil {
		return err
	}
	told := p.tellWitness()
	if err := p.db.Close(); err != nil {
		return fmt.Errorf("closing the store in %s: %v", p.dir, err)
	}
	return errors.Join(told, p.lock.Close())
}

// enter says whether the store is open, and keeps it so until leave.
func (p *Pebble) enter() error {
	p.inUse.RLock()
	if p.closed {
		p.inUse.RUnlock()
		return ErrClosed
	}
	return nil
}

func (p *Pebble) leave() { p.inUse.RUnlock() }

// broke is the error that ended the store's life, or nil.
func (p *Pebble) broke() error {
	if err := p.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// breakDown keeps the first error of the disk, which all later commits return,
// and ends the process a moment later.
func (p *Pebble) breakDown(cause error) error {
	err := fmt.Errorf("writing to the store in %s: %w", p.dir, cause)
	if p.failure.CompareAndSwap(nil, &err) {
		p.o.Log(Error, err.Error())
		time.AfterFunc(lastWords, func() { p.o.Fatal(endOfStore(p.dir, cause.Error())) })
	}
	return p.broke()
}

// fatal is where Pebble ends the process by itself.
func (p *Pebble) fatal(message string) {
	err := fmt.Errorf("writing to the store in %s: %s", p.dir, message)
	p.failure.CompareAndSwap(nil, &err)
	p.o.Fatal(endOfStore(p.dir, message))
	select {} // Pebble goes on with damaged state if this returns
}

func endOfStore(dir, why string) string {
	return fmt.Sprintf("the store in %s failed, so the daemon ends; the VMs live on: %s", dir, why)
}

// Metrics are figures of the store for the metrics page; latencies come by Options.Observe.
type Metrics struct {
	Commits   uint64 // batches that were written and synced
	Failed    uint64 // batches that were not
	DiskBytes uint64 // all files of the store
	LogBytes  uint64 // the write-ahead log
	LastEvent uint64
}

// Metrics reads the figures; the zero value after Close.
func (p *Pebble) Metrics() Metrics {
	if p.enter() != nil {
		return Metrics{}
	}
	defer p.leave()
	m := p.db.Metrics()
	return Metrics{
		Commits: p.commits.Load(), Failed: p.failed.Load(), DiskBytes: m.DiskSpaceUsage(),
		LogBytes: m.WAL.PhysicalSize, LastEvent: p.LastEvent(),
	}
}
