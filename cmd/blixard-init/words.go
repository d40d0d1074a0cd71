package main

import (
	"slices"
	"strings"
	"time"
)

// defaultBeat is often enough to see that a guest lives, and rare enough to
// cost nothing: a beat is a few milliseconds of a core under TCG.
const defaultBeat = 10 * time.Second

// words are what the kernel command line says to us.
type words struct {
	beat    time.Duration
	faults  []fault
	service bool
}

// fault is one way to misbehave, and when.
type fault struct {
	kind  string
	after time.Duration
}

// faultKinds are documented in the package's comment.
var faultKinds = []string{
	"panic", "exit", "poweroff", "halt", "reboot", "hang", "lockup", "oom", "crash-loop", "silent", "dead-agent",
	"lying-agent", "late-agent", "garbage-agent", "huge-agent", "stubborn", "flood-console", "flood-agent", "escapes", "dead-service",
}

// parseWords ignores what it doesn't know: a guest that doesn't come up because
// of a misspelt word would only be harder to understand.
func parseWords(cmdline string) words {
	w := words{beat: defaultBeat}
	for word := range strings.FieldsSeq(cmdline) {
		if value, ok := strings.CutPrefix(word, "blixard.beat="); ok {
			if d, err := parseDelay(value); err == nil {
				w.beat = d
			}
		}
		w.service = w.service || word == "blixard.service"
		if value, ok := strings.CutPrefix(word, "blixard.fault="); ok {
			w.faults = append(w.faults, parseFaults(value)...)
		}
	}
	return w
}

func parseFaults(list string) []fault {
	var out []fault
	for one := range strings.SplitSeq(list, ",") {
		kind, delay, delayed := strings.Cut(one, "@")
		f := fault{kind: kind}
		if delayed {
			d, err := parseDelay(delay)
			if err != nil {
				continue
			}
			f.after = d
		}
		if slices.Contains(faultKinds, kind) {
			out = append(out, f)
		}
	}
	return out
}

// parseDelay takes "1m30s" and "500ms"; a negative time is none.
func parseDelay(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	return max(d, 0), err
}
