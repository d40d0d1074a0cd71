package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

// Bounds of the time between two looks: the daemon takes no more than one
// sample a second, and a minute is as good as not following.
const (
	leastInterval = 500 * time.Millisecond
	mostInterval  = time.Minute
)

func topCommand(c *cli) *cobra.Command {
	v := &topView{order: byCPU}
	var once bool
	cmd := &cobra.Command{
		Use: "top", Short: "Follow what the VMs and the node use, live",
		Long: `Show what the node and its VMs use, on the whole screen and anew every two
seconds: CPU% of one processor, memory that counts against the reservation of
what is reserved, bytes a second from and to storage and networks, and for how
long a VM has been idle by its spec's measure.

  c m d n N   sort by CPU, memory, disk, network, name; again: reversed
  ↑ ↓ j k     choose a VM; PgUp PgDn g G too; its reason stands at the foot
  /           show only VMs whose name or phase has what you type; Esc: all
  p           pause; q or Ctrl-C leaves; h shows the keys

In a pipe, with --once, and on a terminal that can't move its cursor, it prints
one snapshot. The node takes a sample for each look, but at most one a second,
however many look.`,
		Example: "  blixard top\n  blixard top --sort memory --filter web\n  blixard top --once | head\n  blixard top -o json | jq '.vms[] | {name, usage}'",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if v.interval < leastInterval || v.interval > mostInterval {
				return misuse(cmd, "--interval is %s, allowed are %s to %s", v.interval, leastInterval, mostInterval)
			}
			if orders[v.order] == nil {
				return misuse(cmd, "--sort is %q, there are %s", v.order, strings.Join(orderNames, ", "))
			}
			format := outputOf(cmd)
			if once || format == "json" || !c.live {
				return c.topOnce(cmd.Context(), v, format)
			}
			return c.topLive(cmd.Context(), v)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&once, "once", false, "print one snapshot, as in a pipe")
	f.DurationVarP(&v.interval, "interval", "n", 2*time.Second, "time between two looks")
	f.StringVar(&v.order, "sort", byCPU, "sort by this `COLUMN`: "+strings.Join(orderNames, ", "))
	f.StringVar(&v.filter, "filter", "", "only VMs whose name or phase has this `TEXT`")
	_ = cmd.RegisterFlagCompletionFunc("sort", cobra.FixedCompletions(orderNames, cobra.ShellCompDirectiveNoFileComp))
	return outputs(cmd, "text", "json")
}

// look is what the daemon tells at one moment.
type look struct {
	node *blixardv1.NodeResourcesResponse
	vms  []*blixardv1.VM
	at   time.Time
}

// lookAt asks the daemon to look now. A look that hangs, as on a dead disk,
// costs the fresh numbers, not the view.
func (c *cli) lookAt(ctx context.Context, node blixardv1connect.NodeClient) (look, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	fresh, over := context.WithTimeout(ctx, callTimeout/3)
	defer over()
	r, err := call(fresh, node.NodeResources, &blixardv1.NodeResourcesRequest{Fresh: true})
	if err != nil && refusalOf(err).Code == vm.TimedOut {
		r, err = call(ctx, node.NodeResources, &blixardv1.NodeResourcesRequest{})
	}
	if err != nil {
		return look{}, err
	}
	l, err := call(ctx, node.ListVMs, &blixardv1.ListVMsRequest{})
	if err != nil {
		return look{}, err
	}
	return look{node: r, vms: l.GetVms(), at: c.now()}, nil
}

func (c *cli) topOnce(ctx context.Context, v *topView, format string) error {
	stop := c.waiting("waiting for the daemon's answer")
	l, err := c.lookAt(ctx, c.node())
	stop()
	if err != nil {
		return err
	}
	v.take(l)
	if format == "json" {
		return c.printTopJSON(l.node, v.rows())
	}
	if err := c.print(c.topWords(v).bytes(c)); err != nil {
		return err
	}
	t, cols := &table{}, wideColumns
	if c.width > 0 {
		cols, _ = columns(c.width)
	}
	for _, col := range cols {
		t.heads = append(t.heads, col.head)
	}
	for _, one := range v.rows() {
		var cells []string
		for _, col := range cols {
			cells = append(cells, col.text(c, one))
		}
		t.row(cells...)
	}
	return c.printTable(t)
}

// topWords are the head of a snapshot.
func (c *cli) topWords(v *topView) *block {
	r := v.look.node
	b := &block{alarms: map[string]bool{alerting: true, noMore: true}}
	b.add("VMs", "%s", fmt.Sprint(len(v.look.vms))+counts(v.inPhases()))
	for _, g := range gauges(r) {
		b.add(g.name, "%s", g.words)
	}
	b.add("Pressure", "%s", pressureWords(r))
	b.addAll(noMore, r.GetOver())
	c.alertLines(b, furtherAlerts(r))
	return b
}

// printTopJSON writes both messages as the socket tells them.
func (c *cli) printTopJSON(node *blixardv1.NodeResourcesResponse, vms []*blixardv1.VM) error {
	n, err := messages.JSON{}.Marshal(node)
	if err != nil {
		return fmt.Errorf("writing json: %w", err)
	}
	l, err := messages.JSON{}.Marshal(&blixardv1.ListVMsResponse{Vms: vms})
	if err != nil {
		return fmt.Errorf("writing json: %w", err)
	}
	whole := append([]byte(`{"node":`), n...)
	whole = append(append(whole, ','), l[1:]...) // {"vms":[…]} without its brace
	if c.outIs {
		var wide bytes.Buffer
		if err := json.Indent(&wide, whole, "", "  "); err != nil {
			return fmt.Errorf("writing json: %w", err)
		}
		whole = wide.Bytes()
	}
	return c.print(append(harmless(whole), '\n'))
}
