package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// leave is Ctrl-], as in telnet and virsh: no guest needs it.
const leave = 0x1d

func consoleCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "console NAME", Short: "Sit down at the serial console of a VM",
		Long: `Connect the terminal with the serial console of a running VM. Ctrl-] leaves. The
guest's bytes reach the terminal as they are: trust the guest, or use
"blixard vm logs -f".`,
		Example: "  blixard vm console web",
		Args:    between(1, 1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.console(cmd.Context(), args[0]) },
	}
}

// console connects the two until one of them ends, and gives the terminal back
// as it was, whatever ended it.
func (c *cli) console(ctx context.Context, name string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	stream := c.duplex().Console(ctx)
	if err := stream.Send(&blixardv1.ConsoleInput{Name: name}); err != nil && !errors.Is(err, io.EOF) {
		return lost(err)
	}
	restore, err := c.raw()
	if err != nil {
		return err
	}
	defer restore()
	typed, shown := make(chan error, 1), make(chan error, 1)
	go func() { typed <- c.typing(stream) }()
	go func() { shown <- c.showing(stream, name) }()
	select {
	case err = <-shown:
		err = consoleEnd(err)
	case err = <-typed:
		if errors.Is(err, io.EOF) { // standard input ended: the guest may still have an answer
			_ = stream.CloseRequest()
			err = <-shown
		} else if errors.Is(err, errUnheard) {
			err = consoleEnd(<-shown)
		}
	}
	if ctx.Err() != nil {
		err = nil
	}
	cancel()
	restore()
	if errors.Is(err, errConsoleEnded) {
		fmt.Fprintln(c.err)
		return &vm.Refusal{Code: vm.Unavailable, Why: "the console ended: the VMM is gone", Try: "blixard vm explain " + name}
	}
	if err == nil {
		fmt.Fprintf(c.err, "\nleft the console of %s\n", name)
	}
	return lost(err)
}

var (
	errConsoleEnded = errors.New("the console ended")
	errUnheard      = errors.New("what was typed is not heard any more")
)

// consoleEnd is what it means that the answer ended before the person left.
func consoleEnd(err error) error {
	if err == nil {
		return errConsoleEnded
	}
	return err
}

// raw gives the guest every key; without a terminal there is nothing to do.
func (c *cli) raw() (restore func(), err error) {
	if c.inFD < 0 || !term.IsTerminal(c.inFD) {
		return func() {}, nil
	}
	was, err := term.MakeRaw(c.inFD)
	if err != nil {
		return nil, fmt.Errorf("making the terminal raw: %w", err)
	}
	return func() { _ = term.Restore(c.inFD, was) }, nil
}

// typing sends what is typed. It ends with nil at Ctrl-], io.EOF at the end of
// the input.
func (c *cli) typing(stream *connect.BidiStreamForClient[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]) error {
	buf := make([]byte, 4096)
	for {
		n, err := c.in.Read(buf)
		end := n
		for i, b := range buf[:n] {
			if b == leave {
				end = i
				break
			}
		}
		if end > 0 {
			if sent := stream.Send(&blixardv1.ConsoleInput{Data: buf[:end]}); sent != nil {
				return errUnheard // the answer says why
			}
		}
		if end < n {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *cli) showing(stream *connect.BidiStreamForClient[blixardv1.ConsoleInput, blixardv1.ConsoleOutput], name string) error {
	for open := false; ; open = true {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !open {
			fmt.Fprintf(c.err, "console of %s, Ctrl-] leaves\r\n", name)
		}
		if _, err := c.out.Write(m.GetData()); err != nil {
			return fmt.Errorf("writing to the terminal: %w", err)
		}
	}
}
