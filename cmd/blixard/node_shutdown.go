package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func nodeShutdownCommand(c *cli) *cobra.Command {
	var within time.Duration
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Stop every VM before the machine goes down",
		Long: `Stop every VM because the machine goes down: gracefully, in the reverse order of
their start; when two thirds of the time are over, all that are left at once.
Each is killed when its own stop timeout has passed. The machine itself is left
alone. The exit code is 5 where some are up when the time is over.

The VMs stay wanted up, and come back by whichever comes first: the machine's
next boot, the daemon's next start, or 30 minutes, so that a machine that does
not go down after all isn't left without them. To bring one back at once:
blixard vm start NAME. To keep VMs down, over a boot too: blixard vm stop NAME.

Under systemd this happens by itself. An init script without systemd calls it
before it stops the daemon.`,
		Example: "  blixard node shutdown\n  blixard node shutdown --within 5m",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if within <= 0 || within > time.Hour {
				return misuse(cmd, "--within is %s, allowed is more than 0s and at most 1h", within)
			}
			return c.shutdown(cmd, within)
		},
	}
	cmd.Flags().DurationVar(&within, "within", 2*time.Minute, "the time for all of them")
	return outputs(cmd, "text", "json", "yaml")
}

func (c *cli) shutdown(cmd *cobra.Command, within time.Duration) error {
	began := c.now()
	s, err := ask(cmd.Context(), c, c.node().NodeStatus, &blixardv1.NodeStatusRequest{})
	if err != nil {
		return err
	}
	told, quiet := map[string]bool{}, outputOf(cmd) != "text"
	stopTelling := func() error { return nil }
	if !quiet {
		stopTelling = c.tellEnds(cmd.Context(), s.GetLastEvent(), told, began)
	}
	defer c.waiting("waiting for the VMs to go down")()
	ctx, cancel := context.WithTimeout(cmd.Context(), within+time.Minute) // killing takes its time too
	defer cancel()
	res, err := call(ctx, c.node().ShutdownNode, &blixardv1.ShutdownNodeRequest{Within: durationpb.New(within)})
	if bad := stopTelling(); err == nil {
		err = bad
	}
	if err != nil {
		return err
	}
	if handled, err := c.told(cmd, res); handled && err != nil {
		return err
	}
	if !quiet {
		if err := c.sumUp(res, told, began); err != nil {
			return err
		}
	}
	if left := res.GetLeft(); len(left) > 0 {
		return invalid("blixard node shutdown again, or blixard vm stop --force", "%d of %d VMs are not down: %s", len(left), len(left)+len(res.GetStopped()), names(left))
	}
	return nil
}

func (c *cli) sumUp(res *blixardv1.ShutdownNodeResponse, told map[string]bool, began time.Time) error {
	for _, name := range slices.Sorted(slices.Values(res.GetStopped())) {
		if !told[name] {
			if err := c.printf("%s: %s\n", name, down); err != nil {
				return err
			}
		}
	}
	n := len(res.GetStopped())
	if n+len(res.GetLeft()) == 0 {
		return c.printf("No VM was up.\n")
	}
	text := fmt.Sprintf("%s down after %s.\nWhat is wanted up comes back at the machine's next boot; where it doesn't go down, when the daemon starts again, or in 30 minutes.",
		count(n, "VM is", "VMs are"), age(c.now().Sub(began)))
	for line := range strings.Lines(text) {
		if err := c.printf("%s\n", strings.Join(wrap(strings.TrimSuffix(line, "\n"), c.width), "\n")); err != nil {
			return err
		}
	}
	return nil
}

// tellEnds writes a line for each VM that goes down, as the journal tells it,
// until the returned function is called. A journal that can't be read now is no
// reason to leave a machine up: the lines are a courtesy.
func (c *cli) tellEnds(ctx context.Context, after uint64, told map[string]bool, began time.Time) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.copyEnds(ctx, &blixardv1.WatchEventsRequest{After: proto.Uint64(after), Follow: true}, told, began)
	}()
	return func() error {
		cancel()
		return <-ended
	}
}

func (c *cli) copyEnds(ctx context.Context, req *blixardv1.WatchEventsRequest, told map[string]bool, began time.Time) error {
	stream, noStream := c.node().WatchEvents(ctx, connect.NewRequest(req))
	if noStream != nil {
		return nil
	}
	defer func() { _ = stream.Close() }() // it has ended, or nobody listens any more
	for stream.Receive() {
		line := endOf(stream.Msg())
		if line == "" {
			continue
		}
		name := stream.Msg().GetVm()
		told[name] = told[name] || line == down
		if err := c.printf("%s: %s, after %s\n", name, line, age(c.now().Sub(began))); err != nil {
			return err
		}
		c.waiting("waiting for the others to go down")
	}
	return nil
}

const down = "down"

// endOf is what an event says of a VM's end, or nothing.
func endOf(e *blixardv1.Event) string {
	if e.GetVm() == "" || e.GetFrom() == e.GetTo() {
		return ""
	}
	switch e.GetTo() {
	case "stopped", "backoff", "failed":
		return down
	case "killing":
		return fmt.Sprintf("killed (%s)", vm.OneLine(e.GetWhy(), 0))
	}
	return ""
}
