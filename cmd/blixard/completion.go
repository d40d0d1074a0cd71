package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

// keystroke is how long a person at the Tab key is kept waiting for names.
const keystroke = 300 * time.Millisecond

func completionCommand(c *cli) *cobra.Command {
	return &cobra.Command{
		Use: "completion SHELL", Short: "Print the completion script of a shell",
		Long: `Print the script that makes a shell complete commands, flags and the names of
VMs: bash, zsh or fish.`,
		Example: `  blixard completion bash > /etc/bash_completion.d/blixard
  blixard completion zsh > "${fpath[1]}/_blixard"
  blixard completion fish > ~/.config/fish/completions/blixard.fish`,
		Args: between(1, 1), ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.out, true)
			case "zsh":
				return root.GenZshCompletion(c.out)
			case "fish":
				return root.GenFishCompletion(c.out, true)
			}
			return misuse(cmd, "%.60q is no shell that is known; there are bash, zsh and fish", args[0])
		},
	}
}

// completeNames offers the VMs that are not in the line yet, for the first most arguments.
func (c *cli) completeNames(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(commandContext(cmd)), keystroke)
		defer cancel()
		res, err := call(ctx, c.node().ListVMs, &blixardv1.ListVMsRequest{})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, v := range res.GetVms() {
			if !contains(args, v.GetName()) {
				names = append(names, v.GetName()+"\t"+v.GetPhase())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// commandContext is never nil: completion runs commands that were not executed.
func commandContext(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}
