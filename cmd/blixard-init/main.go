package main

import (
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if name := filepath.Base(os.Args[0]); name != "init" && name != "blixard-init" {
		os.Exit(applet(name, os.Args[1:]))
	}
	if len(os.Args) > 1 && os.Getpid() != 1 {
		os.Exit(applet(os.Args[1], os.Args[2:]))
	}
	if os.Getpid() != 1 {
		os.Exit(applet("", nil))
	}
	boot()
}

// restWait is how long the modules that the agent doesn't need wait for its
// first answer: loading them at once would take the only CPU from it.
const restWait = 300 * time.Millisecond

// boot brings the guest up in the order in which somebody waits for it: the
// agent first, the other devices after the ready mark.
func boot() {
	mountAll()
	c := &console{}
	words := parseWords(readCmdline())
	faults := newFaults(words.faults, c)
	faults.startEarly()
	m := readModules("/modules/list")
	c.report(m.load("agent"))
	if hasPCI() {
		c.report(m.load("pci"))
	}
	a := &agent{console: c, faults: faults, processes: newProcesses(), answered: make(chan struct{})}
	port, err := openPort(agentPort)
	if err != nil {
		c.say("no agent: " + err.Error())
	} else {
		go a.serve(port)
	}
	if words.service {
		c.report(faults.serve(a.processes))
	}
	c.say("ready")
	faults.start(port)
	go faults.listen(port)
	a.waitAnswered(restWait)
	c.report(m.load("rest"))
	close(faults.drivers)
	beat(c, words.beat)
}

// beat never returns: PID 1 may not end.
func beat(c *console, every time.Duration) {
	if every <= 0 {
		select {}
	}
	start := time.Now()
	for n := 1; ; n++ {
		time.Sleep(time.Until(start.Add(time.Duration(n) * every)))
		c.beat(n, uptime())
	}
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
