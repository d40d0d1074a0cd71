package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tellers are the commands that write one line.
var tellers = map[string]func() string{
	"date":   func() string { return time.Now().UTC().Format(time.RFC3339Nano) },
	"uptime": func() string { return uptime().String() },
}

// doers are the commands that only end with a status.
var doers = map[string]func(args []string) int{
	"bomb":  bomb,
	"fault": askFault,
	"fill":  fill,
}

// applet is one of the commands that this program also is, for guest-exec.
func applet(name string, args []string) (code int) {
	out := bufio.NewWriter(os.Stdout)
	defer func() { _ = out.Flush() }()
	if f, ok := tellers[name]; ok {
		_, _ = out.WriteString(f() + "\n")
		return 0
	}
	if f, ok := doers[name]; ok {
		return f(args)
	}
	switch name {
	case "true":
	case "false":
		return 1
	case "exit":
		return number(args, 0)
	case "echo":
		_, _ = out.WriteString(strings.Join(args, " ") + "\n")
	case "env":
		_, _ = out.WriteString(strings.Join(os.Environ(), "\n") + "\n")
	case "cat":
		return cat(out, args)
	case "sleep":
		time.Sleep(time.Duration(number(args, 1)) * time.Second)
	case "kill": // itself, by the signal's number
		_ = syscall.Kill(os.Getpid(), syscall.Signal(number(args, int(syscall.SIGKILL))))
	case "burn": // a processor, for so many seconds
		for end := time.Now().Add(time.Duration(number(args, 1)) * time.Second); time.Now().Before(end); {
		}
	case "eat": // so many MiB of memory, held for a minute
		return eat(number(args, 1))
	case "pgrep": // -c -x NAME
		return pgrep(out, args)
	case "yes": // as many lines as it is told
		for range number(args, 1000) {
			_, _ = out.WriteString("y\n")
		}
	default:
		_, _ = os.Stderr.WriteString("usage: bomb|burn|cat|date|eat|echo|env|exit|false|fault|fill|kill|pgrep|sleep|true|uptime|yes [ARGUMENT…]\n")
		return 2
	}
	return 0
}

// number is the first argument, or what stands in for it.
func number(args []string, otherwise int) int {
	if len(args) == 0 {
		return otherwise
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return otherwise
	}
	return n
}

func cat(out io.Writer, args []string) int {
	if len(args) == 0 {
		_, _ = io.Copy(out, os.Stdin)
		return 0
	}
	for _, path := range args {
		b, err := os.ReadFile(path)
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
		_, _ = out.Write(b)
	}
	return 0
}

// eat holds that much memory for a minute, every page of it touched. The kernel
// says where it hasn't that much; Go's own heap would end with a trace instead.
func eat(mib int) int {
	if mib <= 0 {
		_, _ = os.Stderr.WriteString("usage: eat MIB\n")
		return 2
	}
	b, err := unix.Mmap(-1, 0, mib<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		_, _ = os.Stderr.WriteString("the guest has no " + strconv.Itoa(mib) + " MiB of memory left: " + err.Error() + "\n")
		return 1
	}
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	time.Sleep(time.Minute)
	return 0
}

// fill writes bytes that are not zero to a file or a disk, MIB of them, each
// MiB synced: what can't be written is told at once.
func fill(args []string) int {
	if len(args) == 0 {
		_, _ = os.Stderr.WriteString("usage: fill MIB FILE\n")
		return 2
	}
	path := args[len(args)-1]
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	defer f.Close()
	b := bytes.Repeat([]byte{0xa5}, 1<<20)
	for range number(args, 1) {
		if _, err = f.Write(b); err == nil {
			err = f.Sync()
		}
		if err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
	}
	return 0
}
