package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// applet is one of the commands that this program also is, for guest-exec.
func applet(name string, args []string) (code int) {
	out := bufio.NewWriter(os.Stdout)
	defer func() { _ = out.Flush() }()
	switch name {
	case "true":
		return 0
	case "false":
		return 1
	case "exit":
		return number(args, 0)
	case "echo":
		_, _ = out.WriteString(strings.Join(args, " ") + "\n")
		return 0
	case "env":
		_, _ = out.WriteString(strings.Join(os.Environ(), "\n") + "\n")
		return 0
	case "cat":
		return cat(out, args)
	case "sleep":
		time.Sleep(time.Duration(number(args, 1)) * time.Second)
		return 0
	case "kill": // itself, by the signal's number
		_ = syscall.Kill(os.Getpid(), syscall.Signal(number(args, int(syscall.SIGKILL))))
		return 0
	case "uptime":
		_, _ = out.WriteString(uptime().String() + "\n")
		return 0
	case "yes": // as many lines as it is told
		for range number(args, 1000) {
			_, _ = out.WriteString("y\n")
		}
		return 0
	}
	_, _ = os.Stderr.WriteString("usage: cat|echo|env|exit|false|kill|sleep|true|uptime|yes [ARGUMENT…]\n")
	return 2
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
