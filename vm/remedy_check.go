package vm

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of remedies and dumps.
const (
	MaxRungs = 8
	MaxTimes = 100

	minDump     = time.Second
	maxDump     = 10 * time.Minute
	defaultDump = 30 * time.Second // a GiB of memory goes through zlib in 10 s on one core
)

// remediable are the causes that can come while a VMM lives: after any other
// there is nobody left to be reset or asked.
var remediable = []Cause{CauseHealthFailed, CauseGuestPanic, CauseIOError, CauseLinkLost}

func (s Spec) checkRemedies() *Refusal {
	if r := between("the number of remedies", len(s.Remedies), 0, MaxRungs); r != nil {
		return r
	}
	for i, rung := range s.Remedies {
		f := fmt.Sprintf("remedies[%d]", i)
		if r := rung.check(f); r != nil {
			return r
		}
		if rung.Do == RemedyRestore {
			if r := s.checkRestore(f + ".do"); r != nil {
				return r
			}
		}
		if last := i == len(s.Remedies)-1; !last && rung.Times == 0 && len(rung.For) == 0 {
			if rung.Do == RemedyHold {
				return invalid("put it last, or name the causes that it is for: for: [guest-panic]", "%s is hold, and nothing comes after it", f)
			}
			return invalid("times: 1", "%s has no times, so the remedies after it never come", f)
		}
	}
	return nil
}

// checkRestore refuses what a known-good state can't be of: its memory goes back
// to what it was, and what the guest wrote to a disk since does not.
func (s Spec) checkRestore(f string) *Refusal {
	if s.Boot.Built() {
		return invalid("do: restart", "%s is restore, but only a VMM that Blixard made itself can save its guest, and this VM is a runner's", f)
	}
	if s.Boot.Disk != "" {
		return invalid("do: restart", "%s is restore, but the guest writes to boot.disk, which would not go back with its memory", f)
	}
	for _, d := range s.Disks {
		if !d.ReadOnly {
			return invalid("readOnly: true for that disk, or another remedy, such as do: restart",
				"%s is restore, but the guest writes to disk %s, which would not go back with its memory", f, cut(d.Name))
		}
	}
	return nil
}

func (r Rung) check(f string) *Refusal {
	if bad := firstRefusal(
		oneOf(f+".do", r.Do, RemedyReset, RemedyRestore, RemedyRestart, RemedyKill, RemedyHold),
		between(f+".times", r.Times, 0, MaxTimes),
	); bad != nil {
		return bad
	}
	if r.Do == RemedyHold && r.Times != 0 {
		return invalid("leave times out", "%s.times is %d, but what is held is held until a person decides", f, r.Times)
	}
	return causesOf(f+".for", r.For, remediable)
}

func causesOf(f string, given, allowed []Cause) *Refusal {
	for i, c := range given {
		if r := oneOf(fmt.Sprintf("%s[%d]", f, i), c, allowed...); r != nil {
			return r
		}
		if slices.Contains(given[:i], c) {
			return invalid("keep one of them", "%s names %s twice", f, c)
		}
	}
	return nil
}

func filledRungs(in []Rung) []Rung {
	out := slices.Clone(in)
	for i := range out {
		out[i].For = slices.Clone(out[i].For)
	}
	return out
}

func (d Dump) filled() Dump {
	d.On = slices.Clone(d.On)
	if len(d.On) > 0 {
		fill(&d.Format, DumpKdump)
		fill(&d.Timeout, defaultDump)
	}
	return d
}

// checkDump refuses a cause that can't come: only a check, or the watchdog of a
// machine with PCI, finds a guest sick.
func (s Spec) checkDump() *Refusal {
	b := s.Boot
	watched := b.Disk != "" || b.Runner != "" || b.Flake != "" || slices.ContainsFunc(s.Health, Check.Critical)
	if slices.Contains(s.Dump.On, CauseHealthFailed) && !watched {
		return invalid("a check whose role is liveness, or dump: {on: [guest-panic]}", "dump.on has health-failed, but no startup or liveness check could find the guest sick")
	}
	if s.Dump.Core && (b.Runner != "" || b.Flake != "") {
		return invalid("leave dump.core out", "dump.core would write the guest's memory: it is left out of a core only by a VMM that isn't a runner's")
	}
	return s.Dump.check()
}

func (d Dump) check() *Refusal {
	if len(d.On) == 0 {
		if d.Format != "" || d.Timeout != 0 {
			return invalid("dump: {on: [guest-panic]}, or leave dump out", "dump doesn't say on which causes, so format and timeout mean nothing")
		}
		return nil
	}
	return firstRefusal(
		causesOf("dump.on", d.On, []Cause{CauseGuestPanic, CauseHealthFailed}),
		oneOf("dump.format", d.Format, DumpKdump, DumpELF),
		between("dump.timeout", d.Timeout, minDump, maxDump),
	)
}
