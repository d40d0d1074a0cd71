package persistence

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/blixard/blixard/vm"
)

var sampleTime = time.Date(2026, 3, 1, 12, 30, 15, 123456789, time.UTC)

// memDir has parents, which must outlive a power cut too.
const (
	memDir     = "var/lib/store"
	memWitness = "var/lib/witness.json"

	memLogBytes = 64 << 10
)

func sampleID(n int) vm.ID { return vm.ID(fmt.Sprintf("%016x", n)) }

// sampleRecord has every field of a busy VM filled.
func sampleRecord(n int) vm.Record {
	crash := sampleCrash(3)
	return vm.Record{
		ID: sampleID(n), Slot: uint32(n),
		Spec: vm.Spec{
			Name: vm.Name(fmt.Sprintf("vm-%d", n)), CPUs: 2, Memory: 256 * vm.MiB,
			Boot:     vm.Boot{Image: "builtin", Cmdline: "blixard.beat=1s"},
			Disks:    []vm.Disk{{Name: "data", Size: vm.GiB}, {Name: "seed", Path: "/srv/seed.iso", ReadOnly: true}},
			Networks: []vm.Network{{Mode: "user"}},
			Restart: vm.Restart{
				Policy: vm.RestartAlways, Delay: vm.Delay{Initial: time.Second, Factor: 2, Max: 5 * time.Minute, Jitter: 0.1},
				Budget: vm.Budget{Attempts: 5, Window: 10 * time.Minute}, ResetAfter: 10 * time.Minute,
			},
			Autostart: vm.Autostart{Policy: "inherit", Priority: 5},
			Health: []vm.Check{{
				Type: vm.CheckAgent, Interval: 10 * time.Second, Timeout: time.Second, Failures: 3, Successes: 1,
			}},
			Start: vm.Start{Timeout: time.Minute}, Stop: vm.Stop{Method: "auto", Timeout: 30 * time.Second},
			Resources: vm.Resources{CPUWeight: 100, CPUQuota: 200, IOWeight: 100},
		},
		Reservation: vm.Reservation{CPUs: 2, Memory: 300 * vm.MiB, Disk: vm.GiB},
		State: vm.State{
			Revision: 17, Intent: vm.WantRunning, Phase: vm.Running, PhaseSince: sampleTime, Deadline: sampleTime.Add(time.Minute),
			Reason: "the guest has answered", After: vm.ThenRestart, Incarnation: 4, BootID: "5c1f7a4e-0000-4000-8000-1234567890ab",
			Process: &vm.Process{
				PID: 4711, StartTime: 123456, BootID: "5c1f7a4e-0000-4000-8000-1234567890ab", Unit: "blixard-vm-1", Launcher: "process",
			},
			LaunchedAt: sampleTime, ReadyAt: sampleTime.Add(time.Second), Health: vm.Healthy, HealthSince: sampleTime, HealthWhy: "answers",
			Ledger: []time.Time{sampleTime, sampleTime.Add(time.Second)}, Tries: 2, Restarts: 3, Crashes: 3, LastExit: &crash,
			CreatedAt: sampleTime,
		},
	}
}

func sampleCrash(number uint64) vm.Crash {
	return vm.Crash{
		Number: number,
		Failure: vm.Failure{
			Incarnation: 3, Cause: vm.CauseGuestPanic, Evidence: "Kernel panic - \x1b[31mnot syncing\x00\u2028", At: sampleTime,
			Exit: &vm.Exit{Known: true, Signal: 9, At: sampleTime}, Ready: true,
		},
		Uptime:   90 * time.Second,
		Decision: vm.Decision{Do: vm.BackOff, After: 4200 * time.Millisecond, Charged: true, Rule: "budget", Why: "crash 3 of 5 in 10m0s"},
	}
}

func sampleEntry(r vm.Record) *vm.Entry {
	return &vm.Entry{
		At: sampleTime, VM: r.ID, Name: r.Spec.Name, Kind: "GuestAnswered", From: vm.Starting, To: vm.Running, Incarnation: 4,
		Revision: r.State.Revision, Cause: vm.CauseGuestPanic, Decision: vm.BackOff, Delay: time.Second, Why: "it answered", By: "uid=0",
	}
}

// openMem opens a store on a memory disk, which is closed with the test.
func openMem(t testing.TB, fs vfs.FS) *Pebble {
	t.Helper()
	p, err := Open(memDir, Options{FS: fs, Witness: memWitness, logBytes: memLogBytes, Fatal: func(m string) { t.Errorf("the process would have ended: %s", m) }})
	if err != nil {
		t.Fatalf("opening the store: %v", err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// injecting wraps a disk. The files of errorfs's own ReuseForWrite are out of
// the injector's sight, and a log that Pebble uses again is such a file.
func injecting(fs vfs.FS, inj errorfs.Injector) vfs.FS { return injectingFS{errorfs.Wrap(fs, inj)} }

type injectingFS struct{ vfs.FS }

func (i injectingFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := i.Rename(old, name); err != nil {
		return nil, err
	}
	return i.OpenReadWrite(name, category)
}

func mustCommit(t testing.TB, s Store, turn Turn) uint64 {
	t.Helper()
	n, err := s.Commit(turn)
	if err != nil {
		t.Fatalf("committing revision %d of %s: %v", turn.Record.State.Revision, turn.Record.ID, err)
	}
	return n
}
