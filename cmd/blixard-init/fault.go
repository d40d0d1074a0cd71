package main

import (
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// faults are what this guest was told to do wrong. The flags are read by the
// agent at each request.
type faults struct {
	list     []fault
	console  *console
	drivers  chan struct{} // closed when all modules are loaded
	hung     atomic.Bool   // neither the agent nor the console may go on
	dead     atomic.Bool
	lie      atomic.Value // the fault by which the agent's answers are wrong, a string
	service  atomic.Int64 // pid of the service, or 0
	stubborn atomic.Bool
}

func newFaults(list []fault, c *console) *faults {
	return &faults{list: list, console: c, drivers: make(chan struct{})}
}

// early is the fault that comes before the agent.
const early = "crash-loop"

// manners are faults that only change how the rest behaves.
var manners = []string{"silent", "dead-agent", "escapes", "stubborn", "lying-agent", "late-agent", "garbage-agent", "huge-agent"}

// startEarly carries out what has to be true from the first line on.
func (f *faults) startEarly() {
	for _, one := range f.list {
		switch {
		case one.kind == early:
			time.Sleep(one.after)
			f.commit(one.kind, nil)
		case one.after == 0 && slices.Contains(manners, one.kind):
			f.commit(one.kind, nil)
		}
	}
}

// start arms the others.
func (f *faults) start(port *port) {
	for _, one := range f.list {
		if one.kind == early {
			continue
		}
		time.AfterFunc(one.after, func() { f.commit(one.kind, port) })
	}
}

// commit carries a fault out. Doing one twice changes nothing.
func (f *faults) commit(kind string, port *port) {
	if kind == "panic" {
		<-f.drivers // pvpanic, which tells the host of a panic, is one of them
	}
	if kind != "silent" {
		f.console.say("fault " + kind)
	}
	switch kind {
	case "panic", early:
		panicKernel()
	case "exit":
		os.Exit(3)
	case "poweroff":
		powerOff(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case "halt":
		powerOff(unix.LINUX_REBOOT_CMD_HALT)
	case "reboot":
		powerOff(unix.LINUX_REBOOT_CMD_RESTART)
	case "hang":
		f.hung.Store(true)
		f.console.silent.Store(true)
	case "lockup":
		lockUp()
	case "oom":
		fillMemory()
	case "silent":
		f.console.silent.Store(true)
	case "dead-agent":
		f.dead.Store(true)
	case "lying-agent", "late-agent", "garbage-agent", "huge-agent":
		f.lie.Store(kind)
	case "dead-service":
		_ = unix.Kill(int(f.service.Load()), unix.SIGKILL)
	case "stubborn":
		f.stubborn.Store(true)
	case "escapes":
		f.console.escapes.Store(true)
	case "flood-console":
		for {
			f.console.say(strings.Repeat("flood ", 40))
		}
	case "flood-agent":
		flood(port)
	}
}

// answers says whether the agent may answer at all.
func (f *faults) answers() bool { return !f.hung.Load() && !f.dead.Load() }

// powerOff ends the machine in the way that cmd says. All that is on disks is
// synced first; the console gets time to send what it holds.
func powerOff(cmd int) {
	unix.Sync()
	_ = unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1) // tcdrain
	_ = unix.Reboot(cmd)
}

func panicKernel() {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		os.Exit(4) // the end of PID 1 is a panic as well
	}
}

// lockUp burns every CPU at the highest real-time priority, with the scheduler
// told not to spare anything for others.
func lockUp() {
	_ = os.WriteFile("/proc/sys/kernel/sched_rt_runtime_us", []byte("-1"), 0)
	for range runtime.NumCPU() {
		go func() {
			runtime.LockOSThread()
			param := struct{ priority int32 }{99}
			const fifo = 1
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&param)))
			for {
			}
		}()
	}
}

// fillMemory touches pages until the kernel has none left. It is PID 1, which
// can't be killed for them, so the kernel panics.
func fillMemory() {
	const step = 1 << 20
	for {
		b, err := unix.Mmap(-1, 0, step, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
		if err != nil {
			panicKernel()
		}
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
	}
}

func flood(p *port) {
	if p == nil {
		return
	}
	junk := []byte(strings.Repeat(`{"return":`, 400))
	for {
		if err := p.write(junk); err != nil {
			time.Sleep(100 * time.Millisecond) // nobody listens at the moment
		}
	}
}
