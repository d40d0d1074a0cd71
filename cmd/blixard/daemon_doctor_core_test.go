package main

import (
	"strings"
	"testing"
)

func TestTheDoctorSaysWhereCoresGo(t *testing.T) {
	for pattern, want := range map[string]string{
		"core.%p":                               "comes into the bundle of its death",
		"|/usr/lib/systemd/systemd-coredump %P": "comes into no bundle, by kernel.core_pattern: systemd-coredump has taken it: coredumpctl info PID",
		"/var/crash/core":                       `the kernel was to write it to "/var/crash/core"`,
	} {
		if f := coreFinding(pattern); f.State != "ok" || !strings.Contains(f.Why, want) || strings.Contains(f.Why, "\n") {
			t.Errorf("%s: %+v", pattern, f)
		}
	}
}
