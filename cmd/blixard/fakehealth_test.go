package main

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func fakeProbe(name, kind, role string) *blixardv1.Probe {
	return &blixardv1.Probe{
		Name: name, Type: kind, Role: role, Health: "healthy", Why: "answers",
		Interval: durationpb.New(10 * time.Second), Timeout: durationpb.New(time.Second), Failures: 3, Successes: 1,
	}
}

// sicken gives a VM a probe for each way in which one can stand.
func sicken(v *blixardv1.VM) {
	boot := fakeProbe("boot", "console", "startup")
	boot.Streak, boot.Why, boot.Since = 1, `the console shows "login:"`, ago(3*time.Minute)
	site := fakeProbe("site", "http", "readiness")
	site.Health, site.Streak, site.Why, site.Since = "unhealthy", -7, "it is 503 Service Unavailable, wanted is 200-399", ago(70*time.Second)
	ssh := fakeProbe("tcp", "tcp", "liveness")
	ssh.Streak, ssh.Why, ssh.Since = -2, "no answer in time\x1b[2J", ago(3*time.Minute)
	unit := fakeProbe("units", "exec", "readiness")
	unit.Health, unit.Streak, unit.Successes, unit.Why = "starting", 1, 2, "exit code 0"
	beat := fakeProbe("process", "process", "")
	beat.Health, beat.Why, beat.Streak = "unknown", "not judged: the host kept the VMM waiting for 40% of the round", 0
	v.Probes = []*blixardv1.Probe{boot, site, ssh, unit, beat}
	v.Health, v.HealthWhy = "degraded", "site: it is 503 Service Unavailable, wanted is 200-399"
	v.Spec.Remedies = []*blixardv1.Rung{{Do: "hold", For: []string{"io-error"}}, {Do: "reset", Times: 2, For: []string{"health-failed", "guest-panic"}}, {Do: "restart", Times: 1}, {Do: "kill"}}
	v.Good = &blixardv1.SavedState{Incarnation: 2, At: ago(40 * time.Minute), Bytes: int64(63 * vm.MiB)}
	v.Rungs = []*blixardv1.RungUse{{Do: "hold"}, {Do: "reset", Used: 1, Times: 2}, {Do: "restart", Times: 1}, {Do: "kill", Used: 3}}
	v.Bundles = &blixardv1.BundlesHeld{Bytes: int64(20*vm.MiB + 70*vm.KiB), QuotaBytes: int64(256 * vm.MiB)}
	v.Spec.Dump = &blixardv1.Dump{On: []string{"guest-panic"}, Format: "kdump", Timeout: durationpb.New(30 * time.Second)}
	v.Spec.Seed = &blixardv1.Seed{Hostname: "web-1", SshKeys: []string{"ssh-ed25519 AAAA"}, UserData: "#cloud-config\npassword: secret\n"}
	v.Spec.Boot = &blixardv1.Boot{Disk: "/srv/debian.qcow2"}
}
