package main

import (
	"context"
	"fmt"
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
		Long: `Run a command in a guest, through its agent, and show what it wrote. The exit
code is the command's own. Control bytes are made visible, unless --raw asks for
them. The guest has to have the command; the built-in guest has no shell, but
echo, cat, env, exit N, false, kill N, sleep N, true, uptime and yes N.`,
		Example: "  blixard vm exec web -- echo hello\n  blixard vm exec --raw web -- cat /etc/hostname > name",
		Args:    between(2, -1), ValidArgsFunction: c.completeNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer c.waiting("waiting for the command in %s", args[0])()
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout+callTimeout)
			defer cancel()
			res, err := call(ctx, c.node().ExecVM, execRequest(args, timeout))
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

func execRequest(args []string, timeout time.Duration) *blixardv1.ExecVMRequest {
	name, argv := args[0], args[1:]
	if argv[0] == "--" {
		argv = argv[1:]
	}
	return &blixardv1.ExecVMRequest{Name: name, Argv: argv, Timeout: durationpb.New(timeout)}
}

func (c *cli) printExec(cmd *cobra.Command, res *blixardv1.ExecVMResponse, raw bool) error {
	if outputOf(cmd) == "json" {
		return c.printJSON(res)
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
	if code := res.GetExitCode(); code != 0 {
		return guestExit(code & 0xff)
	}
	return nil
}
