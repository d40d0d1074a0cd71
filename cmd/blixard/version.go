package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

// release is set by the build: -ldflags "-X main.release=v1.2.3".
var release string

// buildVersion is the release, or else the commit that this was built from.
func buildVersion() string {
	if release != "" {
		return release
	}
	b, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := "", ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision + dirty
}

func ownVersion() *blixardv1.VersionResponse {
	return &blixardv1.VersionResponse{Version: buildVersion(), Api: "blixard.v1", Go: runtime.Version()}
}

func versionLine(v *blixardv1.VersionResponse) string {
	return fmt.Sprintf("blixard %s, api %s, %s\n", v.GetVersion(), v.GetApi(), v.GetGo())
}

func versionCommand(c *cli) *cobra.Command {
	var client bool
	cmd := &cobra.Command{
		Use: "version", Short: "Show the version of this program and of the daemon",
		Long:    "Show the version of this program, and of the daemon where one answers.",
		Example: "  blixard version\n  blixard version --client -o json",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own := ownVersion()
			if outputOf(cmd) == "json" {
				return c.printJSON(own)
			}
			if err := c.printf("%s", versionLine(own)); err != nil || client {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Second)
			defer cancel()
			daemon, err := call(ctx, c.node().Version, &blixardv1.VersionRequest{})
			if err != nil {
				return c.printf("daemon: none answers\n")
			}
			return c.printf("daemon %s, api %s, %s\n", daemon.GetVersion(), daemon.GetApi(), daemon.GetGo())
		},
	}
	cmd.Flags().BoolVar(&client, "client", false, "this program alone")
	return outputs(cmd, "text", "json")
}
