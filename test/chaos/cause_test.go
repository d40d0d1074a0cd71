package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/test/node"
)

// A guest without a driver for its panic device that reboots after its panic, as
// most are set up to, is known by its console.
func TestAPanicThatNoDeviceTellsOfIsNoReboot(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("mute", "module_blacklist=pvpanic_mmio,pvpanic blixard.fault=panic@4s")
	spec.Restart = node.Patient(time.Hour)
	w.up(spec)
	w.ended("mute", boot)
	crashes, err := w.Crashes(w.ctx, "mute")
	w.must(err)
	if len(crashes) != 1 {
		t.Fatalf("want one crash, got %v", crashes)
	}
	crash := crashes[0]
	if crash.GetCause() != "guest-panic" || crash.GetConfidence() != "likely" || !strings.Contains(crash.GetEvidence(), "Kernel panic - not syncing: sysrq triggered crash") {
		t.Errorf("got %s (%s): %s", crash.GetCause(), crash.GetConfidence(), crash.GetEvidence())
	}
}
