package proof

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// lockWait is how long a forked child of a daemon that was just killed may
// take to its exec, which is what lets go of the daemon's lock.
const lockWait = 5 * time.Second

// Lock keeps a second launcher out. A child that a killed daemon had forked
// but that has not come to its exec carries no tags yet, so no scan could see
// it; it does hold this lock, which its exec closes.
func Lock(path string) (*os.File, error) {
	doing := "lock " + path
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, host.Fail(host.Broken, doing, err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			_ = file.Close()
			return nil, host.Fail(host.Broken, doing, fmt.Errorf("another daemon of this node lives: %w", err))
		}
		<-time.After(5 * time.Millisecond)
	}
}
