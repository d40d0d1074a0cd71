package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
)

func showCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show NAME...", Aliases: []string{"status"}, Short: "Show all there is to know of a VM",
		Long: `Show a VM: its state, its health, its crash budget, how it last ended, what it
uses now beside what it holds, the limits that it is held to and those that
this machine can't hold, and what is taken back of it while it is idle. Where a
changed spec waits for the next start, usage and limits are of what runs, and
below "Spec" stands what will change. -o yaml shows its spec with every default
filled in; what stands under "spec:" is a spec file.`,
		Example: "  blixard vm show web\n  blixard vm show web -o yaml\n  blixard vm status web -o json | jq .lastExit",
		Args:    between(1, -1), ValidArgsFunction: c.completeNames(-1),
		RunE: func(cmd *cobra.Command, names []string) error {
			node, nth := c.node(), 0
			if outputOf(cmd) != "name" {
				c.lookNow(cmd.Context())
			}
			return c.each(cmd, names, func(name string) error {
				v, err := ask(cmd.Context(), c, node.GetVM, &blixardv1.GetVMRequest{Name: name})
				if err != nil {
					return err
				}
				nth++
				return c.printVM(outputOf(cmd), v, nth > 1)
			})
		},
	}
	return outputs(cmd, "text", "wide", "json", "yaml", "name")
}

func (c *cli) printVM(format string, v *blixardv1.VM, more bool) error {
	switch format {
	case "json":
		return c.printJSON(v)
	case "yaml":
		if more {
			if err := c.printf("---\n"); err != nil {
				return err
			}
		}
		return c.printYAML(v)
	case "name":
		return c.printf("%s\n", v.GetName())
	}
	if more {
		if err := c.printf("\n"); err != nil {
			return err
		}
	}
	return c.print(c.block(v, format == "wide").bytes(c))
}

// block is "label: text" lines with the labels aligned, and broken where a
// terminal ends.
type block struct {
	lines  [][2]string
	alarms map[string]bool // labels of what nobody may overlook
}

func (b *block) add(label, format string, args ...any) {
	b.lines = append(b.lines, [2]string{label, cell(fmt.Sprintf(format, args...))})
}

// addAll adds lines under one label.
func (b *block) addAll(label string, lines []string) {
	for i, line := range lines {
		if i > 0 {
			label = ""
		}
		b.add(label, "%s", line)
	}
}

// addUnder adds lines under the label that came last.
func (b *block) addUnder(lines []string) {
	for _, line := range lines {
		b.add("", "%s", line)
	}
}

func (b *block) addIf(yes bool, label, format string, args ...any) {
	if yes {
		b.add(label, format, args...)
	}
}

func (b *block) bytes(c *cli) []byte {
	width := 0
	for _, l := range b.lines {
		width = max(width, utf8.RuneCountInString(l[0]))
	}
	var out strings.Builder
	alarm := false
	for _, l := range b.lines {
		colon := ":"
		alarm = b.alarms[l[0]] || alarm && l[0] == ""
		if l[0] == "" {
			colon = " "
		}
		label := l[0] + colon + strings.Repeat(" ", width-utf8.RuneCountInString(l[0]))
		item := ""
		if strings.HasPrefix(l[1], "- ") {
			item = "  " // what follows hangs under its first word
		}
		for i, text := range wrap(l[1], c.width-width-2-len(item)) {
			word, rest, _ := strings.Cut(text, " ")
			switch {
			case alarm:
				label, text = c.alarm(label), c.alarm(text)
			case i == 0 && (l[0] == "Phase" || l[0] == "Health"):
				text = strings.TrimRight(c.paint(word)+" "+rest, " ")
			}
			fmt.Fprintf(&out, "%s %s\n", label, text)
			label = strings.Repeat(" ", width+1) + item
		}
	}
	return []byte(out.String())
}

const specWaits = "the changed spec waits for the next start"

func (c *cli) block(v *blixardv1.VM, wide bool) *block {
	b := &block{alarms: map[string]bool{stalled: true}}
	b.add("Name", "%s", v.GetName())
	b.add("Phase", "%s for %s: %s", v.GetPhase(), or(c.since(v.GetPhaseSince()), "0s"), or(v.GetReason(), "no reason was given"))
	c.stillLines(b, v)
	b.addIf(v.GetSpecPending(), "Spec", "%s: blixard vm restart %s", specWaits, v.GetName())
	b.addUnder(v.GetWaits())
	b.addIf(v.GetQueued(), "Queue", "it waits for its turn after a boot of the node (blixard node status); blixard vm start %s starts it now", v.GetName())
	b.addIf(v.GetDeadline() != nil, "Deadline", "%s", c.until(v.GetDeadline()))
	b.add("Intent", "%s", v.GetIntent())
	b.add("Health", "%s", strings.TrimSuffix(v.GetHealth()+": "+v.GetHealthWhy(), ": "))
	c.probeLines(b, v.GetProbes(), wide)
	healingLines(b, v)
	b.addIf(v.GetPid() != 0, "VMM", "pid %d, %s, %s, incarnation %d, since %s", v.GetPid(), v.GetLauncher(), v.GetUnit(), v.GetIncarnation(), c.moment(v.GetStartedAt()))
	c.supervision(b, v)
	c.sizes(b, v)
	b.add("Created", "%s", c.moment(v.GetCreatedAt()))
	if wide {
		b.add("Uid", "%s", v.GetUid())
		b.add("Revision", "%d", v.GetRevision())
	}
	return b
}

func (c *cli) supervision(b *block, v *blixardv1.VM) {
	if r := v.GetRestarts(); r != nil {
		b.add("Restarts", "%d; %d of %d failures within %s, %d left", r.GetCount(), r.GetInWindow(), r.GetBudget(), span(r.GetWindow()), r.GetRemaining())
		b.addIf(r.GetNextRetryAt() != nil, "Next try", "%s, after a delay of %s", c.until(r.GetNextRetryAt()), span(r.GetDelay()))
	}
	if e := v.GetLastExit(); e != nil {
		b.add("Last exit", "%s%s: %s", e.GetCause(), ended(e.ExitCode, e.GetSignal()), e.GetEvidence())
		charged := "not charged"
		if e.GetCharged() {
			charged = "charged"
		}
		used := account(e)
		b.addIf(used != "", "", "%s", used)
		b.add("", "incarnation %d, %s, %s, decided: %s", e.GetIncarnation(), c.moment(e.GetAt()), charged, decided(e.GetDecision()))
	}
}

func (c *cli) sizes(b *block, v *blixardv1.VM) {
	if r := v.GetReservation(); r != nil {
		b.add("Reserved", "%s", portions(float64(r.GetCpus()), r.GetMemoryBytes(), r.GetDiskBytes()))
	}
	c.usageLines(b, v)
	b.addIf(v.GetBundles().GetBytes() > 0, "Bundles", "%s: blixard vm crashes %s", heldWords(v.GetBundles()), v.GetName())
	limitLines(b, v.GetLimits())
	b.add("Reclaim", "%s", reclaimWords(v.GetSpec().GetReclaim()))
	boot := v.GetSpec().GetBoot()
	what := boot.GetImage() + boot.GetKernel() + boot.GetDisk() + boot.GetRunner() + boot.GetFlake()
	b.add("Boots", "%s", strings.TrimSpace(what+" "+boot.GetCmdline()))
	var nics []string
	for _, n := range v.GetSpec().GetNetworks() {
		nics = append(nics, nic(n))
	}
	b.addAll("Networks", nics)
	b.addIf(v.GetSpec().GetSeed() != nil, "Seed", "%s", seedWords(v.GetSpec().GetSeed()))
	b.addIf(v.GetSpec().GetAutostart() != nil, "Autostart", "%s", autostart(v.GetSpec().GetAutostart()))
}

func nic(n *blixardv1.Network) string {
	out := strings.TrimSpace(n.GetMode() + " " + n.GetBridge())
	if n.GetMac() != "" {
		out += ", mac " + n.GetMac()
	}
	if n.GetMtu() != 0 {
		out += fmt.Sprintf(", mtu %d", n.GetMtu())
	}
	return out
}

func autostart(a *blixardv1.Autostart) string {
	out := fmt.Sprintf("%s, priority %d", a.GetPolicy(), a.GetPriority())
	for _, d := range a.GetDependsOn() {
		out += fmt.Sprintf(", after %s is %s or %s have passed", d.GetVm(), d.GetIs(), span(d.GetTimeout()))
	}
	return out
}

// account is what a service manager told of a VMM's end.
func account(e interface {
	GetResult() string
	GetMemoryPeakBytes() int64
	GetCpuTime() *durationpb.Duration
},
) string {
	var out []string
	if e.GetResult() != "" {
		out = append(out, "systemd says "+e.GetResult())
	}
	if e.GetMemoryPeakBytes() != 0 {
		out = append(out, size(e.GetMemoryPeakBytes())+" memory at most (charged to its cgroup; without one, resident)")
	}
	if e.GetCpuTime() != nil {
		out = append(out, span(e.GetCpuTime())+" of processor time")
	}
	return strings.Join(out, ", ")
}

// ended says how a process ended, where that is known.
func ended(code *int32, signal int32) string {
	switch {
	case signal != 0:
		return fmt.Sprintf(" (signal %d)", signal)
	case code != nil:
		return fmt.Sprintf(" (exit code %d)", *code)
	}
	return ""
}

func decided(d *blixardv1.Decision) string {
	if d == nil {
		return "nothing"
	}
	return strings.TrimSuffix(verdict(d)+" because "+d.GetWhy(), " because ")
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
