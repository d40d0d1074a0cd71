package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// console writes whole lines, each with one write, so that those of different
// goroutines never mix.
type console struct {
	silent  atomic.Bool
	escapes atomic.Bool
}

// hostile is what a guest may write to harm whoever looks at it: it clears the
// screen, sets the title, asks the terminal to type, and turns the text over.
const hostile = "\x1b[2J\x1b[H\x1b]0;owned\x07\x1b[6n\x1bP$q\"p\x1b\\\u202egnp.exe\u202c\x00\x08\x7f\xff"

func (c *console) say(text string) {
	if c.silent.Load() {
		return
	}
	if c.escapes.Load() {
		text += hostile
	}
	// Nobody may look at the console; then there is nobody to tell of it.
	_, _ = os.Stdout.WriteString("blixard: " + text + "\n")
}

func (c *console) report(err error) {
	if err != nil {
		c.say(err.Error())
	}
}

func (c *console) beat(n int, up time.Duration) {
	c.say("beat " + strconv.Itoa(n) + " up " + up.Truncate(time.Second).String())
}
