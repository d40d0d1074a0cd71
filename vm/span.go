package vm

import (
	"strings"
	"time"
)

// Span is a duration without the zeros that time.Duration ends in: 10m, not 10m0s.
func Span(d time.Duration) string { return string(AppendSpan(nil, d)) }

// AppendSpan writes a Span without a string of its own.
func AppendSpan(to []byte, d time.Duration) []byte {
	s := d.String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zeros) {
			s = s[:len(s)-2]
		}
	}
	return append(to, s...)
}
