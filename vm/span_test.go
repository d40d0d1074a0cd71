package vm

import (
	"testing"
	"time"
)

func TestSpanLeavesOutZerosAtTheEndAlone(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 10 * time.Minute: "10m", time.Hour: "1h", 100 * time.Hour: "100h",
		time.Hour + 10*time.Minute: "1h10m", time.Hour + 10*time.Second: "1h0m10s", 1500 * time.Millisecond: "1.5s", -time.Minute: "-1m",
	} {
		if got := Span(d); got != want {
			t.Errorf("%d ns is %q, want %q", d, got, want)
		}
	}
}
