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
	live     bool // in and out are a terminal whose cursor can be moved
	color    bool
	size     func() (width, height int) // of out, now; where it is live
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
		live:  out && !dumb && os.Getenv("TERM") != "" && term.IsTerminal(int(os.Stdin.Fd())),
		color: out && !noColor && !dumb,
		size:  func() (width, height int) { return sizeOf(int(os.Stdout.Fd())) },
		now:   time.Now,
	}
}

// sizeOf is a terminal's; one that doesn't know its own has the size that all once had.
func sizeOf(fd int) (width, height int) {
	width, height, err := term.GetSize(fd)
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// cli is one run of the command line.
type cli struct {
	*terminal
	socket   string
	progress progress
}
