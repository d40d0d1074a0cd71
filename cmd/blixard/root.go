package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const about = `Blixard keeps virtual machines alive on one node: it supervises them, restarts
them by policy, and tells what it did and why.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the daemon can't be
reached, 4 no such VM, 5 timed out.`

// helpWidth is the columns that a help text takes at most, on every terminal.
const helpWidth = 80

// run is the whole program, but for the end of the process.
func run(args []string, t *terminal) int {
	c := &cli{terminal: t}
	root := rootCommand(c)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return exitDone
	}
	return c.report(cmd, err)
}

func rootCommand(c *cli) *cobra.Command {
	root := &cobra.Command{
		Use: "blixard", Short: "Keep virtual machines alive", Long: about,
		SilenceErrors: true, SilenceUsage: true,
		Version:           buildVersion(),
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return checkOutput(cmd) },
	}
	group(root)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetVersionTemplate(versionLine(ownVersion()))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, "%v", err) })
	root.PersistentFlags().StringVar(&c.socket, "socket", "", "the daemon's `PATH` (default $BLIXARD_SOCKET, else /run/blixard/blixard.sock)")
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	root.SetHelpCommandGroupID("else")
	root.AddGroup(&cobra.Group{ID: "use", Title: "Virtual machines:"}, &cobra.Group{ID: "node", Title: "The node:"},
		&cobra.Group{ID: "else", Title: "Other:"})
	add(root, "use", vmCommand(c), applyCommand(c))
	add(root, "node", daemonCommand(c), nodeCommand(c), topCommand(c), eventsCommand(c), sendCommand(c), imageCommand(c))
	add(root, "else", versionCommand(c), completionCommand(c), docsCommand())
	return root
}

func add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, cmd := range commands {
		cmd.GroupID = group
		root.AddCommand(cmd)
	}
}

// group makes a command that only holds others: alone it shows its help, and a
// word that it doesn't know is wrong usage instead of silence.
func group(cmd *cobra.Command, under ...*cobra.Command) *cobra.Command {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		meant := cmd.SuggestionsFor(args[0])
		if len(meant) == 0 {
			return misuse(cmd, "there is no command %q", args[0])
		}
		return misuse(cmd, "there is no command %q, did you mean %s?", args[0], strings.Join(meant, " or "))
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.AddCommand(under...)
	return cmd
}

// usageError is wrong usage: exit code 2.
type usageError struct{ why, try string }

func (e *usageError) Error() string { return e.why + "; try: " + e.try }

func misuse(cmd *cobra.Command, why string, args ...any) error {
	return &usageError{why: fmt.Sprintf(why, args...), try: cmd.CommandPath() + " --help"}
}

// between counts the arguments; most < 0 is without an end.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least && least == 1:
			return misuse(cmd, "%s needs a %s", cmd.CommandPath(), firstWord(cmd.Use))
		case len(args) < least:
			return misuse(cmd, "%s needs %d arguments, here are %d", cmd.CommandPath(), least, len(args))
		case most == 0 && len(args) > 0:
			return misuse(cmd, "%s takes no arguments, here is %q", cmd.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return misuse(cmd, "%s takes at most %d arguments, here are %d", cmd.CommandPath(), most, len(args))
		}
		return nil
	}
}

// firstWord is the first argument in a Use line: "start NAME..." → NAME.
func firstWord(use string) string {
	words := strings.Fields(use)
	if len(words) < 2 {
		return "NAME"
	}
	return strings.Trim(words[1], ".[]…")
}

// each keeps going over the names after a failure: every one is told at once,
// and the exit code is the highest of them. Without a daemon it ends.
func (c *cli) each(cmd *cobra.Command, names []string, do func(name string) error) error {
	var worst error
	for i, name := range names {
		err := do(name)
		if err == nil {
			continue
		}
		if worst == nil || exitCode(err) > exitCode(worst) {
			worst = err
		}
		if len(names) == 1 {
			return err
		}
		c.report(cmd, err)
		if errors.Is(err, errUnreachable) && i < len(names)-1 {
			break
		}
	}
	if worst != nil {
		return &toldError{worst}
	}
	return nil
}

// worse is the error with the higher exit code of two steps over the names; one
// that was not told yet is told.
func (c *cli) worse(cmd *cobra.Command, first, second error) error {
	switch {
	case first == nil:
		return second
	case second == nil:
		return first
	}
	c.report(cmd, second)
	if exitCode(second) > exitCode(first) {
		return &toldError{second}
	}
	return first
}

// toldError was told to the person already.
type toldError struct{ error }

func (e *toldError) Unwrap() error { return e.error }
