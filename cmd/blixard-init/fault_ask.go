package main

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// faultPipe is where a command in the guest asks PID 1 for a fault.
const faultPipe = "/fault"

// listen commits what is asked for, without end.
func (f *faults) listen(port *port) {
	if err := unix.Mkfifo(faultPipe, 0o600); err != nil {
		f.console.report(err)
		return
	}
	pipe, err := os.OpenFile(faultPipe, os.O_RDWR, 0) // for writing too, so that it has no end
	if err != nil {
		f.console.report(err)
		return
	}
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		go f.commit(lines.Text(), port)
	}
}

// askFault asks for the fault and returns when PID 1 has been told.
func askFault(args []string) int {
	if len(args) != 1 || !slices.Contains(faultKinds, args[0]) {
		_, _ = os.Stderr.WriteString("usage: fault KIND, which is one of: " + strings.Join(faultKinds, ", ") + "\n")
		return 2
	}
	pipe, err := os.OpenFile(faultPipe, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		_, err = pipe.WriteString(args[0] + "\n")
	}
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

// serve begins the service: a child that is found by its name, and does nothing.
func (f *faults) serve(p *processes) error {
	pid, err := p.start("sleep", []string{"sleep", "1000000"}, nil, nil, false)
	f.service.Store(int64(pid))
	return err
}

// bomb is a process that begins another one like itself, over and over.
func bomb([]string) int {
	for {
		_, _ = syscall.ForkExec("/bin/bomb", []string{"bomb"}, nil) // the guest has no room left; it is tried again
	}
}
