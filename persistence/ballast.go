package persistence

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/vm"
)

// What is kept for a full disk.
const (
	ballastBytes = 16 << 20 // about 8,000 turns
	ballastStep  = 4 << 20  // released at a time: a log and the table that it becomes; others may eat it, so not all at once
	lowSpace     = 16 << 20 // nothing may begin to grow with less than this left
	noSpace      = 1 << 20  // with less than this left for us, a step is released before a write must fail
)

// ballast is a file that is only there to be cut short: where the disk is full,
// what ends a VM must still be written, and Pebble ends the process where its
// log can't. It is not sparse, and not to be compressed away. A nil ballast does nothing.
type ballast struct {
	path string
	log  func(Level, string)

	mu     sync.Mutex
	left   int64 // bytes of it
	free   int64 // for guests, whose VMMs are no root; when last looked
	faulty error // of the last look
}

func newBallast(path string, log func(Level, string)) *ballast {
	if path == "" {
		return nil
	}
	b := &ballast{path: path, log: log}
	var is unix.Stat_t
	if unix.Lstat(path, &is) == nil && is.Mode&unix.S_IFMT == unix.S_IFREG && is.Blocks*512 >= is.Size {
		b.left = min(is.Size, ballastBytes)
	}
	return b
}

// room is what is left for the guests, and for us, who may be root.
func (b *ballast) room() (guests, ours int64, err error) {
	var is unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(b.path), &is); err != nil {
		return 0, 0, err
	}
	guests, ours = int64(is.Bavail)*is.Frsize, int64(is.Bavail)*is.Frsize
	if os.Geteuid() == 0 {
		ours = int64(is.Bfree) * is.Frsize
	}
	return guests, ours, nil
}

// tend looks, and makes the ballast whole again where there is room, which takes
// a while: nothing for a commit to wait for.
func (b *ballast) tend() {
	if b == nil {
		return
	}
	b.look()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.faulty == nil && b.left < ballastBytes && b.free >= ballastBytes-b.left+lowSpace+noSpace {
		b.fill()
		b.free, _, b.faulty = b.room()
	}
}

// look measures, and releases a step where it must. It tells whether there is
// room for what is only nice to have.
func (b *ballast) look() (isRoomy bool) {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	guests, ours, err := b.room()
	b.free, b.faulty = guests, err
	if err != nil {
		return true
	}
	if ours < noSpace {
		b.release(fmt.Sprintf("only %d KiB are left", ours>>10))
	}
	return ours >= lowSpace
}

// full is called where a write met a full disk; it is tried once more afterwards.
func (b *ballast) full() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = 0
	b.release("a write found the disk full")
}

func (b *ballast) release(why string) {
	if b.left == 0 {
		b.log(Error, why+" on the disk of the state folder, and there is no ballast left to release")
		return
	}
	left := max(b.left-ballastStep, 0)
	if err := cutTo(b.path, left); err != nil {
		b.log(Error, "releasing ballast: "+err.Error())
		return
	}
	b.left = left
	b.log(Warn, fmt.Sprintf("%s on the disk of the state folder: %s of ballast released, %s remain", why, vm.Bytes(ballastStep).Rounded(), vm.Bytes(left).Rounded()))
}

// cutTo returns when the blocks are free: some file systems give them back with the sync only.
func cutTo(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

func (b *ballast) fill() {
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		b.log(Error, "making ballast: "+err.Error())
		return
	}
	err = f.Truncate(b.left) // what was there without blocks
	noise := rand.NewChaCha8([32]byte{})
	chunk := make([]byte, 1<<20)
	at := b.left
	for err == nil && at < ballastBytes {
		_, _ = noise.Read(chunk) // it never fails
		_, err = f.WriteAt(chunk[:min(int64(len(chunk)), ballastBytes-at)], at)
		at += int64(len(chunk))
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		b.log(Error, "making ballast: "+errors.Join(err, f.Truncate(b.left), f.Close()).Error())
		return
	}
	_ = f.Close()
	b.left = ballastBytes
	b.log(Info, fmt.Sprintf("%s of ballast are in %s", vm.Bytes(ballastBytes).Rounded(), b.path))
}

// low tells whether growing has to wait, and why, from what look and full have seen.
func (b *ballast) low() (bool, string) {
	if b == nil {
		return false, ""
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	dir := filepath.Dir(b.path)
	switch {
	case b.faulty != nil:
		return false, ""
	case b.left < ballastBytes:
		return true, fmt.Sprintf("the disk of %s has %s left, and %s of its ballast of %s are gone: %s must be free",
			dir, vm.Bytes(b.free).Rounded(), vm.Bytes(ballastBytes-b.left).Rounded(), vm.Bytes(ballastBytes).Rounded(), vm.Bytes(ballastBytes-b.left+lowSpace+noSpace).Rounded())
	case b.free < lowSpace:
		return true, fmt.Sprintf("the disk of %s has %s left: %s must be free", dir, vm.Bytes(b.free).Rounded(), vm.Bytes(lowSpace).Rounded())
	}
	return false, ""
}

// CheckSpace measures the disk, releases ballast where nearly nothing is left
// and makes it whole again where there is room. It is for whoever has a tick;
// the store looks by itself only when it begins a log, every one or two MiB.
func (p *Pebble) CheckSpace() { p.ballast.tend() }

// LowOnSpace says that what grows (new VMs, new specs) must be refused, and why,
// so that stop, delete and clean-up can still be written. It is as old as the
// last look at the disk, and always false without Options.Ballast.
func (p *Pebble) LowOnSpace() (bool, string) { return p.ballast.low() }
