package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/blixard/blixard/vm"
)

const (
	alertRules = "../../docs/alerts/blixard.rules.yaml"
	alertTests = "../../docs/alerts/blixard.tests.yaml"
)

// promtool is the one of the machine, or the one that make setup-test unpacked.
func promtool(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("promtool"); err == nil {
		return path
	}
	path, err := filepath.Abs("../../build/tools/promtool")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skip("SKIP the alert rules: promtool is not installed: make setup-test")
	}
	return path
}

func TestAlertRulesAreTakenAndDoWhatTheySay(t *testing.T) {
	tool := promtool(t)
	for _, args := range [][]string{{"check", "rules", alertRules}, {"test", "rules", alertTests}} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// Every rule has a test, every kind of alert a rule, and every metric that a
// rule names is one that the daemon has.
func TestAlertRulesAreWhole(t *testing.T) {
	rules, tests := read(t, alertRules), read(t, alertTests)
	names := regexp.MustCompile(`(?m)^ *- alert: (\w+)$`).FindAllStringSubmatch(rules, -1)
	if len(names) < 10 {
		t.Fatalf("only %d rules are found", len(names))
	}
	for _, n := range names {
		if !strings.Contains(tests, "alertname: "+n[1]+"\n") {
			t.Errorf("%s has no test", n[1])
		}
	}
	for _, kind := range vm.AlertKinds() {
		plain := strings.Contains(rules, `kind="`+string(kind)+`"`)
		if !plain && !strings.HasSuffix(string(kind), "-pressure") {
			t.Errorf("no rule is of alerts of kind %s", kind)
		}
	}
	files, err := filepath.Glob("../../actors/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, f := range files {
		source.WriteString(read(t, f))
	}
	var metrics []string
	for _, line := range regexp.MustCompile(`(?m)^ *expr: .*$`).FindAllString(rules, -1) {
		metrics = append(metrics, regexp.MustCompile(`blixard_[a-z_]+`).FindAllString(line, -1)...)
	}
	slices.Sort(metrics)
	for _, m := range slices.Compact(metrics) {
		m = strings.TrimSuffix(m, "_bucket")
		short := strings.TrimPrefix(strings.TrimPrefix(m, "blixard_node_"), "blixard_vm_") // those are put together
		if !strings.Contains(source.String(), `"`+m+`"`) && !strings.Contains(source.String(), `"`+short+`"`) {
			t.Errorf("a rule names the metric %s, which nobody makes", m)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
