package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

func sendCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "send PATH TYPE [JSON]", Short: "Send one message to one actor",
		Long: `Send one message to one actor by its path, and print its answer as JSON. TYPE is
the name of a request of the socket without "Request"; JSON are its fields, or -
for standard input. The VM's name is taken from the path.`,
		Example: "  blixard send vm/web StopVM '{}'\n  blixard send vm/web StopVM '{\"force\":true}'\n  blixard send vm/web GetVM",
		Args:    between(2, 3), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			req := &blixardv1.SendRequest{Path: args[0], Type: args[1], Json: "{}"}
			if len(args) == 3 {
				req.Json = args[2]
			}
			if req.GetJson() == "-" {
				b, err := io.ReadAll(io.LimitReader(c.in, 1<<20))
				if err != nil {
					return fmt.Errorf("reading standard input: %w", err)
				}
				req.Json = string(b)
			}
			if err := checkJSON(req.GetJson()); err != nil {
				return err
			}
			res, err := ask(cmd.Context(), c, c.node().Send, req)
			if err != nil {
				return err
			}
			return c.print(append(harmless([]byte(res.GetJson())), '\n'))
		},
	}
	return outputs(cmd, "json")
}

func checkJSON(s string) error {
	var fields map[string]any
	err := json.Unmarshal([]byte(s), &fields)
	if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("'{}'", "the message is no JSON at byte %d: %v", bad.Offset, bad)
	}
	if err != nil {
		return invalid("'{}'", "the message is no JSON object: %v", err)
	}
	return nil
}
