package main

import (
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// The exit codes of the contract.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNoVM        = 4
	exitTimeout     = 5
)

// errUnreachable marks what never got to a daemon.
var errUnreachable = errors.New("the daemon can't be reached")

// guestExit is the exit code of a command in a guest: nothing of ours failed.
type guestExit int

func (e guestExit) Error() string { return fmt.Sprintf("the command ended with exit code %d", int(e)) }

func exitCode(err error) int {
	if code, ok := errors.AsType[guestExit](err); ok {
		return int(code)
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, errUnreachable) {
		return exitUnreachable
	}
	switch refusalOf(err).Code {
	case vm.NotFound:
		return exitNoVM
	case vm.TimedOut:
		return exitTimeout
	default:
		return exitFailed
	}
}

// refusalOf is any error in the words of a refusal.
func refusalOf(err error) *vm.Refusal {
	if p, ok := errors.AsType[*specfile.Problem](err); ok {
		return p.Refusal()
	}
	if u, ok := errors.AsType[*usageError](err); ok {
		return &vm.Refusal{Code: vm.Invalid, Why: u.why, Try: u.try}
	}
	if r, ok := errors.AsType[*vm.Refusal](err); ok {
		return r
	}
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return messages.RefusalOf(err)
	}
	return &vm.Refusal{Code: vm.Internal, Why: err.Error()}
}

// report tells one error in one line, as JSON where the command was to speak
// JSON, and returns the exit code.
func (c *cli) report(cmd *cobra.Command, err error) int {
	code := exitCode(err)
	if _, told := errors.AsType[*toldError](err); told {
		return code
	}
	if _, guest := errors.AsType[guestExit](err); guest {
		return code
	}
	c.progress.hide()
	r := refusalOf(err)
	if outputOf(cmd) == "json" {
		if b, bad := (messages.JSON{}).Marshal(messages.RefusalToProto(r)); bad == nil {
			c.progress.over(func() { fmt.Fprintf(c.err, "%s\n", harmless(b)) })
			return code
		}
	}
	c.tell("%s", strings.TrimSpace(r.Error()))
	return code
}

// tell writes one line to standard error; only a terminal breaks it, between words.
func (c *cli) tell(format string, args ...any) {
	const head = "blixard: "
	line := vm.OneLine(fmt.Sprintf(format, args...), 0)
	width := 0
	if c.errIs {
		width = c.width
	}
	c.progress.over(func() { fmt.Fprintln(c.err, hang(head+line, len(head), width)) })
}
