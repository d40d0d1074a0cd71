package persistence

import (
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleLog takes what Pebble says and weighs it.
type pebbleLog struct {
	log    func(Level, string)
	fatal  func(string) // doesn't return
	opened atomic.Bool
}

// Infof implements pebble.Logger: a line for each log file and compaction.
func (l *pebbleLog) Infof(format string, args ...any) { l.log(Debug, fmt.Sprintf(format, args...)) }

// Errorf implements pebble.Logger.
func (l *pebbleLog) Errorf(format string, args ...any) { l.log(Error, fmt.Sprintf(format, args...)) }

// Fatalf implements pebble.Logger; Pebble must not go on after it. While the
// store is being opened there is a caller to tell: the panic becomes its error.
func (l *pebbleLog) Fatalf(format string, args ...any) {
	if !l.opened.Load() {
		for _, a := range args {
			if err, ok := a.(error); ok {
				panic(err)
			}
		}
		panic(fmt.Errorf(format, args...))
	}
	l.fatal(fmt.Sprintf(format, args...))
}

func (l *pebbleLog) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { l.log(Error, "in the background: "+err.Error()) },
		// Damage is told to whoever reads the key: it must not end the other VMs (P13).
		DataCorruption:  func(i pebble.DataCorruptionInfo) { l.log(Error, "damaged: "+i.String()) },
		DiskSlow:        func(i pebble.DiskSlowInfo) { l.log(Warn, "the disk is slow: "+i.String()) },
		LowDiskSpace:    func(i pebble.LowDiskSpaceInfo) { l.log(Warn, "the disk is nearly full: "+i.String()) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { l.log(Warn, "writes wait: "+i.String()) },
	}
}
