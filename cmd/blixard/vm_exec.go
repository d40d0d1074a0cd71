package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const defaultExec = 30 * time.Second

func execCommand(c *cli) *cobra.Command {
	var raw bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "exec NAME -- COMMAND...", Short: "Run a command in a guest",
		Long: `Run a command in a guest, through its agent, and show what it wrote. Control
bytes are made visible, unless --raw asks for them. The guest has to have the
command; the built-in guest has no shell, but burn SECONDS, cat, date, echo,
eat MIB (memory, for a minute), env, exit N, false, fault KIND (the guest dies,
or errs, in that way, to practise with: docs/operating.md), fill MIB FILE,
kill N (itself, by signal N), pgrep -c -x NAME, sleep N, true, uptime and yes N.

All that follows -- is the command's, its own flags too. The exit code is the
command's; 128 + N where the signal N ended it, as shells have it. What a code
below 6 can't tell, standard error does: a line that begins with "blixard: " is
of Blixard, and comes only where the command did not run or did not end.`,
		Example: "  blixard vm exec web -- echo hello\n  blixard vm exec --timeout 2m web -- sleep 60\n  blixard vm exec --raw web -- cat /etc/hostname > name",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, argv, err := execArgs(cmd, args)
			if err != nil {
				return err
			}
			defer c.waiting("waiting for the command in %s", name)()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout+callTimeout)
			defer cancel()
			res, err := call(ctx, c.node().ExecVM, &blixardv1.ExecVMRequest{Name: name, Argv: argv, Timeout: durationpb.New(timeout)})
			if err != nil {
				return err
			}
			return c.printExec(cmd, res, raw)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the name is the guest's
	cmd.Flags().BoolVar(&raw, "raw", false, "as it came, control bytes and all")
	cmd.Flags().DurationVar(&timeout, "timeout", defaultExec, "how long the command may take; then exit code 5")
	return outputs(cmd, "text", "json")
}

// execArgs parts what is ours from what is the command's. Flags of ours may stand
// behind the name too, as long as -- says where they end.
func execArgs(cmd *cobra.Command, args []string) (name string, argv []string, err error) {
	if len(args) == 0 {
		return "", nil, misuse(cmd, "%s needs a NAME and a COMMAND", cmd.CommandPath())
	}
	name, argv = args[0], args[1:]
	at := slices.Index(argv, "--")
	switch {
	case at >= 0 && (at == 0 || strings.HasPrefix(argv[0], "-")):
		if err := cmd.Flags().Parse(argv[:at]); err != nil {
			return "", nil, misuse(cmd, "%v", err)
		}
		if rest := cmd.Flags().Args(); len(rest) > 0 {
			return "", nil, misuse(cmd, "%q stands between the name and --, where only flags of %s may", rest[0], cmd.CommandPath())
		}
		if err := checkOutput(cmd); err != nil {
			return "", nil, err
		}
		argv = argv[at+1:]
	case len(argv) > 0 && strings.HasPrefix(argv[0], "-"):
		return "", nil, misuse(cmd, "%q follows the name without --, so it could be a flag of %s or the command", argv[0], cmd.CommandPath())
	}
	if len(argv) == 0 || argv[0] == "" {
		return "", nil, misuse(cmd, "%s needs a COMMAND, such as %s %s -- echo hello", cmd.CommandPath(), cmd.CommandPath(), name)
	}
	return name, argv, nil
}

func (c *cli) printExec(cmd *cobra.Command, res *blixardv1.ExecVMResponse, raw bool) error {
	if outputOf(cmd) == "json" {
		if err := c.printJSON(res); err != nil {
			return err
		}
		return guestCode(res.GetExitCode())
	}
	c.progress.hide()
	stdout, stderr := res.GetStdout(), res.GetStderr()
	if !raw {
		stdout, stderr = vm.Visible(stdout), vm.Visible(stderr)
	}
	if err := c.print(stdout); err != nil {
		return err
	}
	if _, err := c.err.Write(stderr); err != nil {
		return fmt.Errorf("writing the command's errors: %w", err)
	}
	if res.GetTruncated() {
		fmt.Fprintln(c.err, "blixard: the output was longer than is kept; this is its beginning")
	}
	return guestCode(res.GetExitCode())
}

// guestCode is the command's exit code as ours, which has 8 bits: a failure of
// the command never becomes a success of ours.
func guestCode(code int32) error {
	switch {
	case code == 0:
		return nil
	case code&0xff == 0:
		return guestExit(exitFailed)
	}
	return guestExit(code & 0xff)
}
