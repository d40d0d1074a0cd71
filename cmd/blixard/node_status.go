package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/blixard/blixard/messages/blixardv1"
)

const (
	safeMode = "SAFE MODE"
	lowSpace = "LOW SPACE"
)

func nodeStatusCommand(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "status", Short: "Show the node at a glance",
		Long: `Show the daemon's version, how it launches VMs, and how many are in which state;
after a boot of the node, how far it is with bringing the VMs back; the alerts
that hold, with what to do; and what waits for a person.`,
		Example: "  blixard node status\n  blixard node status -o json | jq .phases\n  blixard node status -o json | jq -r .bootstrap.state",
		Args:    between(0, 0), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := ask(cmd.Context(), c, c.node().NodeStatus, &blixardv1.NodeStatusRequest{})
			if err != nil {
				return err
			}
			if handled, err := c.told(cmd, s); handled {
				return err
			}
			return c.print(c.statusBlock(s).bytes(c))
		},
	}
	return outputs(cmd, "text", "json", "yaml")
}

func (c *cli) statusBlock(s *blixardv1.NodeStatusResponse) *block {
	b := &block{alarms: map[string]bool{safeMode: true, lowSpace: true, alerting: true}}
	if why := s.GetSafeMode(); why != "" {
		b.addAll(safeMode, []string{
			why, "Nothing is started and nothing is deleted; VMs that run are kept and watched.",
			"What to do: blixard node repair, which first shows what it will do",
		})
	}
	if why := s.GetLowSpace(); why != "" {
		b.addAll(lowSpace, []string{
			why, "Nothing that grows is let in; stop, status and delete work. It ends by itself when there is space.",
			"What to do: free some, or delete VMs; df -h " + s.GetStateDir(),
		})
	}
	c.alertLines(b, s.GetAlerts())
	n := s.GetWaitingForPerson()
	b.addIf(n > 0, "Plan", "%s for a person: blixard node plan", count(int(n), "action waits", "actions wait"))
	bootLines(c, b, s.GetBootstrap())
	b.add("Daemon", "%s, up %s", s.GetVersion(), or(c.since(s.GetStartedAt()), "0s"))
	b.add("State", "%s", s.GetStateDir())
	b.add("Launcher", "%s", s.GetLauncher())
	b.add("Acceleration", "%s", s.GetAccel())
	b.add("VMs", "%d%s", s.GetVms(), counts(s.GetPhases()))
	b.addIf(len(s.GetHealth()) > 0, "Health", "%s", strings.TrimPrefix(counts(s.GetHealth()), ": "))
	if r := s.GetReserved(); r != nil {
		b.add("Reserved", "%s", portions(float64(r.GetCpus()), r.GetMemoryBytes(), r.GetDiskBytes()))
	}
	b.add("Uses", "%d goroutines, %d open files", s.GetGoroutines(), s.GetFds())
	b.add("Journal", "event %d is the last", s.GetLastEvent())
	b.add("Boot id", "%s", strings.TrimSuffix(s.GetBootId()+", policy "+s.GetBootstrap().GetPolicy(), ", policy "))
	b.addAll("Broken", s.GetBroken())
	return b
}

func counts(m map[string]int32) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if m[name] != 0 {
			out = append(out, fmt.Sprintf("%d %s", m[name], name))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

// fewNames is how many VMs a line names.
const fewNames = 8

// bootLines tell how far the node's boot has come; where it did not boot anew,
// there is nothing to tell.
func bootLines(c *cli, b *block, s *blixardv1.Bootstrap) {
	switch s.GetState() {
	case "running":
		b.add("Bootstrap", "%s", c.bootRuns(s))
		b.addIf(s.GetPressure() != "", "", "nothing more is started now: %s", s.GetPressure())
		b.addIf(len(s.GetStarting()) > 0, "", "starting: %s", names(s.GetStarting()))
		b.addIf(len(s.GetWaiting()) > 0, "", "waiting: %s", names(s.GetWaiting()))
	case "done":
		took := ""
		if s.GetStartedAt() != nil && s.GetEndedAt() != nil {
			took = " in " + age(s.GetEndedAt().AsTime().Sub(s.GetStartedAt().AsTime()).Round(100*time.Millisecond))
		}
		if int(s.GetReady()+s.GetFailed())+len(s.GetHeld())+len(s.GetWaiting()) == 0 {
			b.add("Bootstrap", "done: there was no VM to bring up")
			return
		}
		if n := len(s.GetWaiting()); n > 0 { // they wait for the next boot, or the daemon's next start
			b.add("Bootstrap", "ended by a shutdown%s: %d up, %d failed, %d held, %d had no turn",
				strings.Replace(took, " in ", " after ", 1), s.GetReady(), s.GetFailed(), len(s.GetHeld()), n)
			break
		}
		b.add("Bootstrap", "done%s: %d up, %d failed, %d held", took, s.GetReady(), s.GetFailed(), len(s.GetHeld()))
	default:
		return
	}
	for i, line := range s.GetHeld() {
		if i == fewNames {
			b.add("", "and %d more are held: blixard node status -o json", len(s.GetHeld())-i)
			break
		}
		b.add("", "held: %s", line)
	}
}

// bootRuns is such as "running, 7 of 20 up, 2 starting (limit 2), about 9s left".
func (c *cli) bootRuns(s *blixardv1.Bootstrap) string {
	all := int(s.GetReady()+s.GetFailed()) + len(s.GetStarting()) + len(s.GetWaiting())
	out := fmt.Sprintf("running, %d of %d up, %d starting (limit %d)", s.GetReady(), all, len(s.GetStarting()), s.GetLimit())
	if n := s.GetFailed(); n > 0 {
		out += fmt.Sprintf(", %d failed", n)
	}
	if n := len(s.GetHeld()); n > 0 {
		out += fmt.Sprintf(", %d held", n)
	}
	if s.GetEndsAbout() != nil {
		if left := s.GetEndsAbout().AsTime().Sub(c.now()).Round(time.Second); left > 0 {
			return out + ", about " + age(left) + " left"
		}
		return out + ", soon done"
	}
	return out
}

func names(all []string) string {
	if len(all) <= fewNames {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:fewNames], ", ") + fmt.Sprintf(" and %d more", len(all)-fewNames)
}
