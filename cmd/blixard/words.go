package main

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/vm"
)

// age is a duration in at most two units: 850ms, 12s, 3m12s, 5h4m, 3d2h; 10m.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + "s"
	case d < time.Hour:
		return units(d/time.Minute, "m", d%time.Minute/time.Second, "s")
	case d < day:
		return units(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	}
	return units(d/day, "d", d%day/time.Hour, "h")
}

func units(n time.Duration, unit string, rest time.Duration, of string) string {
	if rest == 0 {
		return fmt.Sprintf("%d%s", n, unit)
	}
	return fmt.Sprintf("%d%s%d%s", n, unit, rest, of)
}

// since is the age of a moment, or nothing where it never was.
func (c *cli) since(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	d := c.now().Sub(t.AsTime())
	if d >= time.Second {
		d = d.Truncate(time.Second)
	}
	return age(d)
}

// until is how far off a moment is.
func (c *cli) until(t *timestamppb.Timestamp) string {
	d := t.AsTime().Sub(c.now())
	if d <= 0 {
		return "now"
	}
	return "in " + age(d)
}

// moment is a time with its age.
func (c *cli) moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().Local().Format("2006-01-02 15:04:05") + ", " + c.since(t) + " ago"
}

func span(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return age(d.AsDuration())
}

// size is a size for the eye: rounded to a tenth of the largest unit.
func size(n int64) string { return vm.Bytes(n).Rounded() }

// count is a number with its word.
func count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
