package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func nodeResourcesCommand(c *cli) *cobra.Command {
	var last bool
	cmd := &cobra.Command{
		Use: "resources", Short: "Show what the node has, what is promised, and what is used",
		Long: `Show capacity, reservations and use of the node side by side:

  capacity    what the daemon may use of the machine
  overcommit  how much more is promised than is there
  reserve     what is kept for the host
  room        capacity × overcommit − reserve: what can be promised
  reserved    what the VMs hold, up or down, from creation to deletion
  free        what can still be promised; below zero, nothing new is
              admitted until it fits
  machine     what there is of it in all
  used        of that, now, by everything on the machine
  pressure    the share of the last ten seconds in which something waited

Below stand how many VMs of the usual size fit yet, why nothing more is
admitted, and the alerts.`,
		Example: "  blixard node resources\n  blixard node resources -o json | jq .free.memoryBytes",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := ask(cmd.Context(), c, c.node().NodeResources, &blixardv1.NodeResourcesRequest{Fresh: !last})
			if err != nil {
				return err
			}
			if handled, err := c.told(cmd, r); handled {
				return err
			}
			if err := c.printTable(amounts(r)); err != nil {
				return err
			}
			return c.print(c.resourceWords(cmd.Context(), r).bytes(c))
		},
	}
	cmd.Flags().BoolVar(&last, "last", false, "tell of the daemon's last look, instead of having it look now")
	return outputs(cmd, "table", "json", "yaml")
}

// amounts are the three dimensions beside each other.
func amounts(r *blixardv1.NodeResourcesResponse) *table {
	t := &table{heads: []string{"", "CPUS", "MEMORY", "DISK"}}
	row := func(name string, a *blixardv1.Amount) {
		t.row(name, decimal(a.GetCpus()), size(a.GetMemoryBytes()), size(a.GetDiskBytes()))
	}
	row("capacity", r.GetCapacity())
	o := r.GetOvercommit()
	t.row("overcommit", "× "+decimal(o.GetCpu()), "× "+decimal(o.GetMemory()), "× "+decimal(o.GetDisk()))
	row("reserve", r.GetReserve())
	row("room", r.GetRoom())
	row("reserved", r.GetReserved())
	row("free", r.GetFree())
	if r.GetAt() == nil {
		t.row("used", "", "", "")
		return t
	}
	row("machine", r.GetMachine())
	row("used", r.GetUsed())
	if p := r.GetPressure(); p != nil {
		t.row("pressure", percent(p.GetCpu()), percent(p.GetMemory()), percent(p.GetIo()))
	}
	return t
}

// resourceWords say what the numbers mean for a person.
func (c *cli) resourceWords(ctx context.Context, r *blixardv1.NodeResourcesResponse) *block {
	b := &block{alarms: map[string]bool{noMore: true, alerting: true}}
	if over := r.GetOver(); len(over) > 0 {
		b.addAll(noMore, over)
		b.add("", "Nothing new is admitted until that fits, and no VM may grow in it. VMs that exist run, stop and start as before.")
		b.add("", "What to do: delete VMs or lower what they have, or give the node more: resources in its configuration")
	}
	c.alertLines(b, furtherAlerts(r))
	b.add("Reserved", "by %s", count(int(r.GetVms()), "VM", "VMs"))
	b.add("Fits yet", "%s", or(c.fitsYet(ctx, r), "not known: the daemon answered no dry run"))
	b.addIf(r.GetBundles() != nil, "Bundles", "%s; the oldest go first", heldWords(r.GetBundles()))
	switch at := r.GetAt(); {
	case at == nil:
		b.add("Looked", "not yet: nobody knows what is used")
	case c.now().Sub(at.AsTime()) < 2*time.Second:
		b.add("Looked", "just now")
	default:
		b.add("Looked", "%s ago", c.since(at))
	}
	return b
}

const (
	noMore   = "NO ROOM"
	alerting = "ALERT"
)

// furtherAlerts are those that say something else than NO ROOM does.
func furtherAlerts(r *blixardv1.NodeResourcesResponse) []*blixardv1.Alert {
	if len(r.GetOver()) == 0 {
		return r.GetAlerts()
	}
	return slices.DeleteFunc(slices.Clone(r.GetAlerts()), func(a *blixardv1.Alert) bool { return a.GetKind() == string(vm.AlertOvercommit) })
}

// fewAlerts is how many are told of in full: a full disk stops every VM.
const fewAlerts = 5

// alertLines tell what a person should look at, and what to do about it.
func (c *cli) alertLines(b *block, alerts []*blixardv1.Alert) {
	for i, a := range alerts {
		if i == fewAlerts {
			b.add(alerting, "and %d more: blixard node status -o json", len(alerts)-i)
			return
		}
		b.add(alerting, "%s", c.alertLine(a))
		b.addIf(a.GetTry() != "", "", "try: %s", a.GetTry())
	}
}

func (c *cli) alertLine(a *blixardv1.Alert) string {
	head := a.GetKind()
	if a.GetVm() != "" {
		head += " of " + a.GetVm()
	}
	return fmt.Sprintf("%s, for %s: %s", head, or(c.since(a.GetSince()), "0s"), a.GetWhy())
}

// usualName is the name of a VM that is asked for and never made.
const usualName = "one-more"

// fitsYet is how many more VMs there is room for, by a dry run of one that has
// every default: the daemon knows what its VMM takes besides.
func (c *cli) fitsYet(ctx context.Context, r *blixardv1.NodeResourcesResponse) string {
	spec := vm.Spec{Name: usualName}.Filled()
	res, err := ask(ctx, c, c.node().Apply, &blixardv1.ApplyRequest{Spec: messages.SpecToProto(spec), DryRun: true})
	if err != nil {
		if refused := refusalOf(err); refused.Code == vm.NoRoom {
			return fmt.Sprintf("no VM of %s: it %s", size(int64(spec.Memory)), strings.TrimPrefix(refused.Why, usualName+" "))
		}
		return ""
	}
	needs := res.GetNeeds()
	if needs.GetMemoryBytes() == 0 {
		return ""
	}
	n, ends := fitting(r.GetFree(), needs)
	return fmt.Sprintf("%s of %s and %s (%s with its VMM); then the %s used up",
		count(n, "more VM", "more VMs"), count(int(needs.GetCpus()), "processor", "processors"), size(int64(spec.Memory)), size(needs.GetMemoryBytes()), ends)
}

// fitting is how often needs go into free, and what there is too little of for
// one more.
func fitting(free *blixardv1.Amount, needs *blixardv1.Reservation) (n int, ends string) {
	most := math.Inf(1)
	for _, d := range []struct {
		name       string
		free, need float64
	}{
		{"memory is", float64(free.GetMemoryBytes()), float64(needs.GetMemoryBytes())},
		{"processors are", free.GetCpus(), float64(needs.GetCpus())},
		{"disk is", float64(free.GetDiskBytes()), float64(needs.GetDiskBytes())},
	} {
		if d.need <= 0 {
			continue
		}
		if fits := math.Floor(max(0, d.free) / d.need); fits < most {
			most, ends = fits, d.name
		}
	}
	if math.IsInf(most, 1) {
		return 0, "room is"
	}
	return int(most), ends
}

// decimal is a number with at most two digits behind the point.
func decimal(v float64) string {
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

func percent(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0") + "%"
}
