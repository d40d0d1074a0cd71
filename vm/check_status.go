package vm

import (
	"strconv"
	"strings"
)

// Statuses is the range of HTTP statuses that are healthy: Status is one code,
// or two with a dash between. False: it is neither.
func (c Check) Statuses() (low, high int, ok bool) {
	from, to, isRange := strings.Cut(c.Status, "-")
	if !isRange {
		to = from
	}
	low, ok = status(from)
	high, is := status(to)
	return low, high, ok && is && low <= high
}

// status reads three digits: a code of HTTP.
func status(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && len(s) == 3 && n >= 100 && n <= 599
}
