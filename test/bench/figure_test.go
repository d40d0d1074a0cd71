package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestFigureComparesMediansAndSaysWhatItMissed(t *testing.T) {
	ms := time.Millisecond
	ours, floor := sample{9 * ms, 12 * ms, 100 * ms}, sample{10 * ms, 8 * ms, 11 * ms}
	for _, one := range []struct {
		figure figure
		want   []string
	}{
		{beside("start", ours, floor, "by hand", 1.15), []string{"12.0 ms (", "by hand 10.0 ms", "1.20", "≤ 1.15 ×", "MISSED"}},
		{beside("start", ours, floor, "by hand", 1.25), []string{"met"}},
		{paired("start", sample{10 * ms, 40 * ms, 20 * ms}, sample{10 * ms, 20 * ms, 20 * ms}, "by hand", 1), []string{"1.00", "met"}},
		{within("call", sample{4 * ms}, 5), []string{"4.0 ms", "≤ 5 ms", "met"}},
		{within("call", nil, 5), []string{"–", "not measured"}},
		{beside("start", ours, nil, "by hand", 1.25), []string{"not measured"}},
		{amount("resident", 61, 60, "MiB"), []string{"61.0 MiB", "MISSED"}},
		{amount("resident", 61, 0, "MiB"), []string{"told"}},
	} {
		var out bytes.Buffer
		one.figure.write(&out)
		for _, want := range one.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in %s", want, out.String())
			}
		}
	}
}
