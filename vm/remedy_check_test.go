package vm_test

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func rungs(all ...vm.Rung) func(*vm.Spec) { return func(s *vm.Spec) { s.Remedies = all } }

func restoring(and func(*vm.Spec)) func(*vm.Spec) {
	return func(s *vm.Spec) {
		s.Remedies = []vm.Rung{{Do: vm.RemedyReset, Times: 1}, {Do: vm.RemedyRestore, Times: 1}}
		and(s)
	}
}

func dump(d vm.Dump) func(*vm.Spec) { return func(s *vm.Spec) { s.Dump = d } }

func seed(d vm.Seed) func(*vm.Spec) {
	return func(s *vm.Spec) { s.Boot, s.Seed = vm.Boot{Disk: "/srv/debian.qcow2"}, d }
}

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBlixardBlixardBlixardBlixardBlixardBlixard me@laptop"

// TestRemedyRefusals writes testdata/refusals-remedies.txt: ladders, dumps and seeds.
func TestRemedyRefusals(t *testing.T) {
	panics := []vm.Cause{vm.CauseGuestPanic}
	keys := func(all ...string) func(*vm.Spec) { return seed(vm.Seed{SSHKeys: all}) }
	refusals(t, []func(*vm.Spec){
		rungs(vm.Rung{}), rungs(vm.Rung{Do: "reboot"}),
		restoring(func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "data", Size: vm.GiB}} }),
		restoring(func(s *vm.Spec) {
			s.Disks = []vm.Disk{{Name: "root", Path: "/r", ReadOnly: true}, {Name: "data", Path: "/d"}}
		}),
		restoring(func(s *vm.Spec) { s.Boot = vm.Boot{Disk: "/srv/debian.qcow2"} }),
		restoring(func(s *vm.Spec) { s.Boot = vm.Boot{Runner: "/r"} }), restoring(func(s *vm.Spec) { s.Boot = vm.Boot{Flake: "/f#web"} }),
		rungs(vm.Rung{Do: vm.RemedyReset, Times: -1}), rungs(vm.Rung{Do: vm.RemedyReset, Times: 101}),
		rungs(vm.Rung{Do: vm.RemedyReset, For: []vm.Cause{vm.CauseVMMCrash}}), rungs(vm.Rung{Do: vm.RemedyReset, For: []vm.Cause{"flood\n"}}),
		rungs(vm.Rung{Do: vm.RemedyReset, For: []vm.Cause{vm.CauseGuestPanic, vm.CauseGuestPanic}}),
		rungs(vm.Rung{Do: vm.RemedyReset}, vm.Rung{Do: vm.RemedyKill}),
		rungs(vm.Rung{Do: vm.RemedyHold}, vm.Rung{Do: vm.RemedyKill}),
		rungs(vm.Rung{Do: vm.RemedyHold, Times: 2}),
		rungs(make([]vm.Rung, 9)...),

		dump(vm.Dump{Format: vm.DumpELF}), dump(vm.Dump{Timeout: time.Minute}),
		dump(vm.Dump{On: []vm.Cause{vm.CauseVMMCrash}}), dump(vm.Dump{On: []vm.Cause{vm.CauseGuestPanic, vm.CauseGuestPanic}}),
		dump(vm.Dump{On: panics, Format: "minidump"}), dump(vm.Dump{On: panics, Timeout: time.Millisecond}), dump(vm.Dump{On: panics, Timeout: time.Hour}),
		func(s *vm.Spec) { s.Boot, s.Dump = vm.Boot{Runner: "/r"}, vm.Dump{Core: true} },
		func(s *vm.Spec) { s.Boot, s.Dump = vm.Boot{Flake: "/f#web"}, vm.Dump{Core: true} },

		func(s *vm.Spec) { s.Seed.Hostname = "web" },
		func(s *vm.Spec) { s.Boot, s.Seed.Hostname = vm.Boot{Runner: "/r"}, "web" },
		func(s *vm.Spec) { s.Boot, s.Seed.Hostname = vm.Boot{Flake: "/f#web"}, "web" },
		seed(vm.Seed{Hostname: "-web"}), seed(vm.Seed{Hostname: "web..example"}), seed(vm.Seed{Hostname: "we_b"}), seed(vm.Seed{Hostname: "web\n"}),
		seed(vm.Seed{Hostname: strings.Repeat("a.", 40) + "a"}),
		keys(""), keys("me@laptop"), keys("ssh-ed25519"), keys("ssh-ed25519 hello"), keys("ssh-dss AAAA"), keys(key + "\n" + key), keys(key + "\x1b"),
		keys(`command="rm" ` + key), keys("-----BEGIN OPENSSH PRIVATE KEY-----"), keys("ssh-rsa AAAA" + strings.Repeat("A", 9000)), keys(make([]string, 33)...),
		seed(vm.Seed{UserData: "packages: [nginx]"}), seed(vm.Seed{UserData: "#cloud-config\n\x00"}), seed(vm.Seed{UserData: "#!/bin/sh\n\xff"}),
		seed(vm.Seed{UserData: "#!" + strings.Repeat("x", 64<<10)}),
		seed(vm.Seed{Network: "version: 2\x1b"}), seed(vm.Seed{Network: strings.Repeat("x", 16<<10+1)}),
	}, "refusals-remedies.txt")
}

func TestLaddersAndSeedsThatAreAllowed(t *testing.T) {
	for name, set := range map[string]func(*vm.Spec){
		"a whole ladder": rungs(
			vm.Rung{Do: vm.RemedyHold, For: []vm.Cause{vm.CauseIOError}}, vm.Rung{Do: vm.RemedyReset, Times: 2},
			vm.Rung{Do: vm.RemedyRestart, Times: 1}, vm.Rung{Do: vm.RemedyKill, Times: 3}, vm.Rung{Do: vm.RemedyHold}),
		"one rung without limit": rungs(vm.Rung{Do: vm.RemedyReset}),
		"a restore":              restoring(func(s *vm.Spec) { s.Disks = []vm.Disk{{Name: "root", Path: "/r", ReadOnly: true}} }),
		"only for a cause":       rungs(vm.Rung{Do: vm.RemedyReset, For: []vm.Cause{vm.CauseHealthFailed, vm.CauseGuestPanic}}, vm.Rung{Do: vm.RemedyKill}),
		"a dump":                 dump(vm.Dump{On: []vm.Cause{vm.CauseGuestPanic, vm.CauseHealthFailed}, Format: vm.DumpELF, Timeout: time.Minute}),
		"a core alone":           dump(vm.Dump{Core: true}),
		"a host name":            seed(vm.Seed{Hostname: "web-1.example.org"}),
		"keys":                   seed(vm.Seed{SSHKeys: []string{key, "ssh-rsa AAAAB3Nz", "sk-ssh-ed25519@openssh.com AAAAGnNr x"}}),
		"user data":              seed(vm.Seed{UserData: "#cloud-config\r\nusers:\n\t- größe\n", Network: "version: 2\n"}),
		"a script for a kernel":  func(s *vm.Spec) { s.Boot, s.Seed = vm.Boot{Kernel: "/k"}, vm.Seed{UserData: "#!/bin/sh\ntrue\n"} },
	} {
		s := vm.Spec{Name: "web"}
		set(&s)
		if err := s.Filled().Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDumpIsFilledWhereItIsAskedFor(t *testing.T) {
	if d := (vm.Spec{Dump: vm.Dump{On: []vm.Cause{vm.CauseGuestPanic}}}).Filled().Dump; d.Format != vm.DumpKdump || d.Timeout != 30*time.Second {
		t.Errorf("%+v", d)
	}
	if d := (vm.Spec{}).Filled().Dump; d.Format != "" || d.Timeout != 0 {
		t.Errorf("nobody asked, but %+v", d)
	}
}
