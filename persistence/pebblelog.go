package persistence

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// stallLimit is how long writes may wait for Pebble to make room. A slow disk
// needs seconds; a flush that fails again and again, without any error of the
// log itself, never ends, and Commit must not wait for ever.
const stallLimit = 30 * time.Second

// pebbleLog takes what Pebble says and weighs it.
type pebbleLog struct {
	log    func(Level, string)
	fatal  func(string)      // doesn't return
	broken func(error) error // the store can't go on, and its writers hear why
	opened atomic.Bool
	stall  atomic.Pointer[time.Timer] // while writes wait
	// trouble takes the first fault of the disk that is met while the store is
	// being opened: there is a caller to tell then, and no need to end the process.
	trouble chan error
}

// Infof implements pebble.Logger: a line for each log file and compaction.
func (l *pebbleLog) Infof(format string, args ...any) { l.log(Debug, fmt.Sprintf(format, args...)) }

// Errorf implements pebble.Logger.
func (l *pebbleLog) Errorf(format string, args ...any) { l.log(Error, fmt.Sprintf(format, args...)) }

// Fatalf implements pebble.Logger; it doesn't return, for Pebble must not go on after it.
func (l *pebbleLog) Fatalf(format string, args ...any) {
	if l.opened.Load() {
		l.fatal(fmt.Sprintf(format, args...))
	}
	l.troubled(causeIn(fmt.Errorf(format, args...), args))
	select {}
}

// causeIn finds the error in what is being logged, so that its kind isn't lost.
func causeIn(otherwise error, args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return otherwise
}

func (l *pebbleLog) troubled(err error) {
	if l.opened.Load() {
		return
	}
	select {
	case l.trouble <- err:
	default: // one is enough
	}
}

func (l *pebbleLog) background(err error) {
	l.log(Error, "in the background: "+err.Error())
	l.troubled(err)
}

func (l *pebbleLog) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: l.background,
		// Damage is told to whoever reads the key: it must not end the other VMs (P13).
		DataCorruption:  func(i pebble.DataCorruptionInfo) { l.log(Error, "damaged: "+i.String()) },
		DiskSlow:        func(i pebble.DiskSlowInfo) { l.log(Warn, "the disk is slow: "+i.String()) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { l.stalled(i.Reason) },
		WriteStallEnd:   l.goesOn,
	}
}

// stalled ends the store where the writes don't go on in time.
func (l *pebbleLog) stalled(why string) {
	l.log(Warn, "writes wait: "+why)
	late := time.AfterFunc(stallLimit, func() {
		_ = l.broken(fmt.Errorf("writes have waited for %v: %s", stallLimit, why)) // who waits ends with the process
	})
	if before := l.stall.Swap(late); before != nil {
		before.Stop()
	}
}

func (l *pebbleLog) goesOn() {
	if late := l.stall.Swap(nil); late != nil {
		late.Stop()
	}
}
