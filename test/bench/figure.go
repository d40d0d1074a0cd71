package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// sample is the measured times of one side of a figure.
type sample []time.Duration

func (s *sample) add(d time.Duration) { *s = append(*s, d) }

// at returns the quantile q of the sample.
func (s sample) at(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[int(q*float64(len(sorted)-1)+0.5)]
}

// String is the median and the middle half: "31.2 ms (29.8–33.0)".
func (s sample) String() string {
	switch len(s) {
	case 0:
		return "–"
	case 1:
		return milliseconds(s[0]) + " ms"
	}
	return fmt.Sprintf("%s ms (%s–%s)", milliseconds(s.at(0.5)), milliseconds(s.at(0.25)), milliseconds(s.at(0.75)))
}

func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms >= 1000 {
		return fmt.Sprintf("%.0f", ms)
	}
	return fmt.Sprintf("%.1f", ms)
}

// figure is one row: ours beside a floor or a peer, and the target.
type figure struct {
	name    string
	ours    string
	against string  // the other side's value, with its name; empty: an absolute target
	ratio   float64 // ours / the other's; 0: none
	value   float64 // what the target is about: the ratio or the absolute value
	target  float64 // the value may be at most this; 0: told without a target
	unit    string  // of the target: "×", "ms", "MiB"
	empty   bool    // a side of it was not measured
}

// beside compares two samples by their medians.
func beside(name string, ours, floor sample, whose string, target float64) figure {
	ratio := float64(ours.at(0.5)) / float64(max(floor.at(0.5), 1))
	return figure{
		name: name, ours: ours.String(), against: whose + " " + floor.String(),
		ratio: ratio, value: ratio, target: target, unit: "×", empty: len(ours) == 0 || len(floor) == 0,
	}
}

// paired compares two samples by the median of their ratios in each round: on a
// machine that others use too, rounds that take minutes differ more than sides.
func paired(name string, ours, floor sample, whose string, target float64) figure {
	f := beside(name, ours, floor, whose, target)
	var ratios []float64
	for i := range min(len(ours), len(floor)) {
		ratios = append(ratios, float64(ours[i])/float64(max(floor[i], 1)))
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		f.ratio = ratios[(len(ratios)-1)/2]
		f.value = f.ratio
	}
	return f
}

// within compares a sample's median with milliseconds.
func within(name string, ours sample, target float64) figure {
	return figure{
		name: name, ours: ours.String(), unit: "ms",
		value: float64(ours.at(0.5)) / float64(time.Millisecond), target: target, empty: len(ours) == 0,
	}
}

// amount compares a number with a bound of the same unit.
func amount(name string, value, target float64, unit string) figure {
	return figure{name: name, ours: fmt.Sprintf("%.1f %s", value, unit), value: value, target: target, unit: unit}
}

func (f figure) verdict() string {
	switch {
	case f.empty:
		return "not measured"
	case f.target == 0:
		return "told"
	case f.value <= f.target:
		return "met"
	}
	return "MISSED"
}

const row = "%-58s | %-26s | %-36s | %-6s | %-9s | %s\n"

func printHead(to io.Writer) {
	fmt.Fprintf(to, row, "figure (medians, in brackets the middle half)", "ours", "floor or peer", "ratio", "target", "verdict")
}

func (f figure) write(to io.Writer) {
	ratio, target := "", ""
	if f.ratio > 0 {
		ratio = fmt.Sprintf("%.2f", f.ratio)
	}
	if f.target > 0 {
		target = fmt.Sprintf("≤ %g %s", f.target, f.unit)
	}
	fmt.Fprintf(to, row, f.name, f.ours, f.against, ratio, target, f.verdict())
}
