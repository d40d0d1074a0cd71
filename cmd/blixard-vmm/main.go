// Command blixard-vmm stands for a moment between a systemd unit and its VMM.
//
//	launcher ─ descriptors, queued on a socket ─▶ unit's standard input
//	systemd  ─ fork, confine, exec ─▶ blixard-vmm ─ take them, drop root, exec ─▶ VMM
//
// The socket has been filled before systemd hears of the unit, so that the
// launcher may die at any moment. systemd can't do either by itself: versions
// before 253 hand no descriptors over, and User= refuses a uid that no database
// names, while each VM has one of its own that only a number names.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Exit codes, among those that systemd leaves to services.
const (
	badUsage   = 64 // EX_USAGE
	notStarted = 71 // EX_OSERR
)

type orders struct {
	uid, gid int
	groups   []int
	dir      string
	argv     []string
}

func main() {
	runtime.LockOSThread() // capabilities belong to threads, and the exec keeps those of its own
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "blixard-vmm:", err)
		os.Exit(badUsage)
	}
	fmt.Fprintln(os.Stderr, "blixard-vmm:", o.become())
	os.Exit(notStarted)
}

// parse reads -uid N -gid N [-groups N,N] [-dir PATH] -- PROGRAM and its arguments.
func parse(args []string) (orders, error) {
	var o orders
	f := flag.NewFlagSet("blixard-vmm", flag.ContinueOnError)
	f.IntVar(&o.uid, "uid", 0, "user of the VMM")
	f.IntVar(&o.gid, "gid", 0, "group of the VMM")
	f.StringVar(&o.dir, "dir", "/", "its working directory")
	groups := f.String("groups", "", "its other groups, by number, with commas")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.argv = f.Args(); len(o.argv) == 0 || !strings.HasPrefix(o.argv[0], "/") {
		return o, fmt.Errorf("%q names no program by an absolute path", o.argv)
	}
	if o.uid <= 0 || o.gid <= 0 {
		return o, fmt.Errorf("it would run as %d:%d; a VMM gets an unprivileged user", o.uid, o.gid)
	}
	for word := range strings.SplitSeq(*groups, ",") {
		if word == "" {
			continue
		}
		g, err := strconv.Atoi(word)
		if err != nil || g < 0 {
			return o, fmt.Errorf("group %q is no number", word)
		}
		o.groups = append(o.groups, g)
	}
	return o, nil
}

// become returns only where it fails, and has told the launcher then.
func (o orders) become() error {
	files, err := receive(0)
	if err != nil {
		return fmt.Errorf("take what the VMM inherits: %w", err)
	}
	last := len(files) - 1
	launcher, err := place(files[:last], files[last])
	if err == nil {
		err = o.exec(launcher)
	}
	_, _ = syscall.Write(launcher, []byte(err.Error())) // it may be gone
	return err
}

// mark goes to the launcher right before the exec: a program that ends with
// whatever code had begun then. Where it comes last, the exec has closed the pipe.
const mark = 0x06 // ACK

func (o orders) exec(launcher int) error {
	if err := o.drop(); err != nil {
		return err
	}
	if err := os.Chdir(o.dir); err != nil { // as the VMM's user, who must be able to
		return err
	}
	signal.Ignore(syscall.SIGXFSZ)               // a full log is an error for the VMM, not its death
	_, _ = syscall.Write(launcher, []byte{mark}) // it may be gone
	return fmt.Errorf("start %s: %w", o.argv[0], syscall.Exec(o.argv[0], o.argv, environ()))
}

// environ is ours without what only this process was told.
func environ() []string {
	var out []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch name {
		case "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "USER", "LOGNAME", "HOME", "SHELL":
		default:
			out = append(out, e)
		}
	}
	return out
}
