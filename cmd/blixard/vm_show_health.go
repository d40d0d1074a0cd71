package main

import (
	"fmt"
	"strings"

	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
)

// probeLines tells of each check where it stands; wide, also since when, and
// what it takes until it counts.
func (c *cli) probeLines(b *block, probes []*blixardv1.Probe, wide bool) {
	for i, p := range probes {
		label := ""
		if i == 0 {
			label = "Probes"
		}
		b.add(label, "%s, every %s: %s", probeName(p), span(p.GetInterval()), probeHealth(p, wide))
		if !wide {
			continue
		}
		counts := fmt.Sprintf("timeout %s, %s until it counts, %s until it counts again",
			span(p.GetTimeout()), count(int(p.GetFailures()), "failure", "failures"), count(int(p.GetSuccesses()), "pass", "passes"))
		if p.GetSince() != nil {
			counts = fmt.Sprintf("%s since %s; %s", p.GetHealth(), c.moment(p.GetSince()), counts)
		}
		b.add("", "%s: %s", or(p.GetName(), p.GetType()), counts)
	}
}

// probeName is "web (http, readiness)"; a name that is the type's needs no type.
func probeName(p *blixardv1.Probe) string {
	role := or(p.GetRole(), "liveness")
	if p.GetName() == "" || p.GetName() == p.GetType() {
		return fmt.Sprintf("%s (%s)", p.GetType(), role)
	}
	return fmt.Sprintf("%s (%s, %s)", p.GetName(), p.GetType(), role)
}

// probeHealth counts what isn't settled: a row of successes that goes on is not
// written down, so its number would be old.
func probeHealth(p *blixardv1.Probe, wide bool) string {
	parts := []string{p.GetHealth()}
	switch n := p.GetStreak(); {
	case strings.Contains(p.GetWhy(), " in a row"): // it counts itself
	case n < 0 && -n < p.GetFailures():
		parts = append(parts, fmt.Sprintf("%d of %s in a row", -n, count(int(p.GetFailures()), "failure", "failures")))
	case n < 0:
		parts = append(parts, count(int(-n), "failure", "failures")+" in a row")
	case n > 0 && n < p.GetSuccesses():
		parts = append(parts, fmt.Sprintf("%d of %s in a row", n, count(int(p.GetSuccesses()), "pass", "passes")))
	case n > 0 && wide:
		parts = append(parts, "at least "+count(int(n), "pass", "passes")+" in a row")
	}
	if p.GetWhy() != "" {
		parts = append(parts, p.GetWhy())
	}
	return strings.Join(parts, ", ")
}

// healingLines tell what is done about a guest that is sick, where the spec says so.
func healingLines(b *block, v *blixardv1.VM) {
	s := v.GetSpec()
	var rungs []string
	for i, r := range s.GetRemedies() {
		text := r.GetDo()
		if i < len(v.GetRungs()) {
			text += policies.UsedOf(int(v.GetRungs()[i].GetUsed()), int(v.GetRungs()[i].GetTimes()))
		}
		if len(r.GetFor()) > 0 {
			text += " for " + strings.Join(r.GetFor(), " or ")
		}
		rungs = append(rungs, text)
	}
	b.addIf(len(rungs) > 0, "Remedies", "%s", strings.Join(rungs, ", then "))
	if d := s.GetDump(); len(d.GetOn()) > 0 {
		b.add("Dump", "%s on %s, within %s", d.GetFormat(), strings.Join(d.GetOn(), " or "), span(d.GetTimeout()))
	}
	b.addIf(s.GetDump().GetCore(), "VMM's core", "kept with a crash")
}

// heldWords tell what the evidence of deaths holds of the disk.
func heldWords(h *blixardv1.BundlesHeld) string {
	if h.GetQuotaBytes() <= 0 {
		return size(h.GetBytes()) + " of evidence"
	}
	return fmt.Sprintf("%s of evidence, of at most %s", size(h.GetBytes()), size(h.GetQuotaBytes()))
}

// seedWords tell what is in a seed and nothing of its text, which may be secret.
func seedWords(s *blixardv1.Seed) string {
	var parts []string
	if s.GetHostname() != "" {
		parts = append(parts, "host name "+s.GetHostname())
	}
	if n := len(s.GetSshKeys()); n > 0 {
		parts = append(parts, count(n, "ssh key", "ssh keys"))
	}
	for _, one := range []struct{ what, text string }{{"user data", s.GetUserData()}, {"network", s.GetNetwork()}} {
		n := len(one.text)
		if hidden, was := gateway.Redacted(one.text); was {
			n = hidden
		}
		if n > 0 {
			parts = append(parts, one.what+" of "+size(int64(n)))
		}
	}
	return strings.Join(parts, ", ")
}
