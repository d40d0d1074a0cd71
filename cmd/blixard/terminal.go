package main

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// terminal is what the program talks with.
type terminal struct {
	in       io.Reader
	out, err io.Writer
	inFD     int  // of in, for raw mode; -1: none
	inIs     bool // in is a terminal: a person can be asked
	width    int  // columns of out; 0: no terminal, lines are left whole
	outIs    bool // out is a terminal
	errIs    bool // err is a terminal whose line can be wiped
	color    bool
	now      func() time.Time
}

func newTerminal() *terminal {
	out := term.IsTerminal(int(os.Stdout.Fd()))
	dumb := os.Getenv("TERM") == "dumb"
	_, noColor := os.LookupEnv("NO_COLOR")
	width := 0
	if out {
		width, _, _ = term.GetSize(int(os.Stdout.Fd())) // unknown is 0
	}
	return &terminal{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		inFD:  int(os.Stdin.Fd()),
		inIs:  term.IsTerminal(int(os.Stdin.Fd())),
		width: width,
		outIs: out, errIs: term.IsTerminal(int(os.Stderr.Fd())) && !dumb,
		color: out && !noColor && !dumb,
		now:   time.Now,
	}
}

// cli is one run of the command line.
type cli struct {
	*terminal
	socket   string
	progress progress
}
