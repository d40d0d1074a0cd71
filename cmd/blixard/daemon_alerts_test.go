package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
)

func configOf(t *testing.T, text string) (config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readConfig(path)
}

func TestThresholdsOfAlertsAndReclaiming(t *testing.T) {
	c, err := configOf(t, `
alerts:
  memory: {raise: 70%, for: 1m}
  disk: {raise: 90, clear: 88%}
  pressure: {io: {for: 10s}}
  fullWithin: 6h
  unreleased: 5m
reclaim: {available: 20%, between: 1m}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := policies.DefaultAlertMarks
	want.Memory = policies.AlertMark{Raise: 70, Clear: 63, For: time.Minute}
	want.Disk.Raise, want.Disk.Clear, want.IO.For = 90, 88, 10*time.Second
	want.FullWithin, want.Unreleased = 6*time.Hour, 5*time.Minute
	if c.shares.Alerts != want {
		t.Errorf("got  %+v\nwant %+v", c.shares.Alerts, want)
	}
	rules := policies.DefaultReclaimRules
	rules.Available, rules.Between = 20, time.Minute
	if c.shares.Reclaim != rules {
		t.Errorf("got %+v, want %+v", c.shares.Reclaim, rules)
	}
	c, err = configOf(t, "alerts: {memory: {for: 0s}, pressure: {io: {raise: 1%}}, fullWithin: 0s, overcommit: 0s}\n")
	want = policies.DefaultAlertMarks
	want.Memory.For, want.FullWithin, want.Overlong, want.IO.Raise, want.IO.Clear = 0, 0, 0, 1, 0.9
	if err != nil || c.shares.Alerts != want {
		t.Errorf("zeros: got %+v, %v; want %+v", c.shares.Alerts, err, want)
	}
	c, err = configOf(t, "socket: {}\n")
	if err != nil || c.shares.Alerts != policies.DefaultAlertMarks || c.shares.Reclaim != policies.DefaultReclaimRules {
		t.Errorf("without a word: %+v, %+v, %v", c.shares.Alerts, c.shares.Reclaim, err)
	}
}

func TestThresholdsThatWouldFlapOrMeanNothing(t *testing.T) {
	for text, says := range map[string]string{
		"alerts: {disk: {raise: 50%, clear: 60%}}":  "alerts.disk is raised at 50% and cleared at 60%",
		"alerts: {disk: {clear: 99%}}":              "alerts.disk is raised at 85% and cleared at 99%",
		"alerts: {memory: {raise: 0%}}":             "no percentage",
		"alerts: {memory: {raise: 0.9}}":            "0.9 could be 0.9% or 90%",
		"reclaim: {available: 1}":                   "1 could be 1% or 100%",
		"alerts: {memory: {raise: 120%}}":           "no percentage",
		"alerts: {memory: {raise: NaN}}":            "no percentage",
		"alerts: {memory: {raise: most}}":           "no percentage",
		"alerts: {memory: {for: -1s}}":              "negative",
		"alerts: {cpu: {raise: 5%}}":                "cpu",
		"reclaim: {available: 1GiB}":                "no percentage",
		"alerts: {pressure: {memory: {clear: 30}}}": "alerts.pressure.memory is raised at 20%",
	} {
		if _, err := configOf(t, text+"\n"); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", text, err, says)
		}
	}
}
