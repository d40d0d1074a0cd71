package policies_test

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

func exit(code, signal int) *vm.Exit { return &vm.Exit{Known: true, Code: code, Signal: signal} }

func starved(host bool, result string) *vm.Exit {
	return &vm.Exit{Known: true, Signal: 9, Result: result, OOM: &vm.OutOfMemory{
		Victim: "qemu, process 7", Limit: 256 * vm.MiB, Usage: 255 * vm.MiB, Host: host,
	}}
}

const panicText = "[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    1.3] CPU: 0\n" +
	"Kernel panic - not syncing: the second\n"

func TestClassifyFindsTheRootCause(t *testing.T) {
	const mounted = "Kernel panic - not syncing: VFS: Unable to mount root fs"
	tests := []struct {
		name     string
		seen     policies.Evidence
		cause    vm.Cause
		sure     vm.Confidence
		evidence string
	}{
		{"nothing at all", policies.Evidence{}, vm.CauseUnknown, vm.Guessed, "the VMM is gone and nobody saw how before the guest answered"},
		{"gone unseen, stderr left", policies.Evidence{Ready: true, Exit: &vm.Exit{}, Stderr: "a\nqemu: oops\n\n"}, vm.CauseUnknown, vm.Guessed, "the VMM is gone and nobody saw how: qemu: oops"},
		{"a person's kill", policies.Evidence{KilledBy: "uid=0", Exit: exit(0, 9), Ready: true}, vm.CauseOperator, vm.Certain, "killed by uid=0"},
		{"a disk fails, then the guest panics", policies.Evidence{DiskFailed: true, Detail: "disk0 nospace", Panicked: true, Console: []byte(panicText)}, vm.CauseIOError, vm.Certain, "a disk of the host failed and the guest was halted: disk0 nospace"},
		{"panic device, console has the text", policies.Evidence{Panicked: true, Console: []byte(panicText), Exit: exit(0, 9)}, vm.CauseGuestPanic, vm.Certain, "the guest panicked: " + mounted},
		{"panic device, no text", policies.Evidence{Panicked: true, Detail: "pvpanic"}, vm.CauseGuestPanic, vm.Certain, "the guest panicked: pvpanic"},
		{"panic reboots the guest", policies.Evidence{Console: []byte(panicText), Reset: true, Ready: true}, vm.CauseGuestPanic, vm.Likely, "the guest's console shows a panic: " + mounted},
		{"panic starves the probes, we kill", policies.Evidence{Console: []byte(panicText), Unhealthy: "guest-agent: 3 of 3 failures in a row", KilledByUs: true, Exit: exit(0, 9), Ready: true}, vm.CauseGuestPanic, vm.Likely, "the guest's console shows a panic: " + mounted},
		{"panic until the start's deadline", policies.Evidence{Console: []byte(panicText), Overdue: 2 * time.Minute, Launched: true}, vm.CauseGuestPanic, vm.Likely, "the guest's console shows a panic: " + mounted},
		{"the crash kernel has dumped and resets", policies.Evidence{Crashed: true, Reset: true, Ready: true, Detail: "RESET"}, vm.CauseGuestPanic, vm.Certain, "the guest panicked, and its own crash kernel went on: RESET"},
		{"the crash kernel hangs, the probes notice", policies.Evidence{Crashed: true, Unhealthy: "x", Console: []byte(panicText), Ready: true}, vm.CauseGuestPanic, vm.Certain, "the guest panicked, and its own crash kernel went on: " + mounted},
		{"watchdog", policies.Evidence{Hung: true, Alive: true, Detail: "WATCHDOG", Ready: true}, vm.CauseHealthFailed, vm.Certain, "the guest's watchdog fired: it hung"},
		{"watchdog, after a panic", policies.Evidence{Hung: true, Alive: true, Console: []byte(panicText), Ready: true}, vm.CauseGuestPanic, vm.Likely, "the guest's console shows a panic: " + mounted},
		{"KVM gives up", policies.Evidence{Broken: true, Alive: true, Ready: true, Stderr: "warning: x\nKVM internal error. Suberror: 1\nemulation failure\nEAX=0 EBX=0\nCode=00\n"}, vm.CauseVMMCrash, vm.Certain, "the VMM can't run the guest on and halted it: KVM internal error. Suberror: 1"},
		{"KVM gives up in silence", policies.Evidence{Broken: true, Alive: true, Console: []byte(panicText)}, vm.CauseVMMCrash, vm.Certain, "the VMM can't run the guest on and halted it"},
		{"SIGKILL, the kernel's log knows", policies.Evidence{Exit: exit(0, 9), Log: "Out of memory: Killed process 7 (qemu) total-vm:9kB", Ready: true}, vm.CauseOOMHost, vm.Likely, "by the kernel's log the memory of the node was at its end; stop a VM, or give the node more: Out of memory: Killed process 7 (qemu) total-vm:9kB"},
		{"SIGKILL, of a cgroup that nobody told of", policies.Evidence{Exit: exit(0, 9), Log: "Memory cgroup out of memory: Killed process 7 (qemu)"}, vm.CauseOOMCgroup, vm.Likely, "by the kernel's log it was killed at the memory limit of a cgroup; raise memory, or look for a leak of the VMM: Memory cgroup out of memory: Killed process 7 (qemu)"},
		{"a panic, then the kernel's memory", policies.Evidence{Panicked: true, Detail: "pvpanic", Exit: exit(0, 9), Log: "Out of memory: Killed process 7 (qemu)"}, vm.CauseGuestPanic, vm.Certain, "the guest panicked: pvpanic"},
		{"the VMM ends by itself", policies.Evidence{Exit: exit(1, 0), Stderr: "qemu: oops", Ready: true}, vm.CauseVMMCrash, vm.Certain, "the VMM ended with status 1: qemu: oops"},
		{"a SIGKILL after a warning", policies.Evidence{Exit: exit(0, 9), Stderr: "qemu: warning: guest note is not present\n", Ready: true}, vm.CauseVMMCrash, vm.Guessed, "the VMM was killed by signal 9 (KILL)"},
		{"an error before a warning", policies.Evidence{Exit: exit(1, 0), Stderr: "qemu: oops\nqemu: warning: guest note is not present", Ready: true}, vm.CauseVMMCrash, vm.Certain, "the VMM ended with status 1: qemu: oops"},
		{"a runner's guest is off", policies.Evidence{Exit: exit(0, 0), Runner: true, Ready: true}, vm.CauseGuestPoweroff, vm.Likely, "the runner ended with its guest"},
		{"own memory limit", policies.Evidence{Exit: starved(false, ""), Ready: true}, vm.CauseOOMCgroup, vm.Certain, "the kernel killed qemu, process 7 at its own memory limit: 255MiB used of 256MiB; raise memory, or look for a leak of the VMM"},
		{"a runner's limit", policies.Evidence{Exit: starved(false, ""), Runner: true}, vm.CauseOOMCgroup, vm.Certain, "the kernel killed qemu, process 7 at its own memory limit: 255MiB used of 256MiB; set memory to what the runner was built with, or look for a leak of its VMM"},
		{"own memory limit, systemd says it alone", policies.Evidence{Exit: &vm.Exit{Known: true, Signal: 9, Result: "oom-kill"}}, vm.CauseOOMCgroup, vm.Certain, "killed at its own memory limit: raise memory, or look for a leak of the VMM"},
		{"own memory limit, systemd says it too", policies.Evidence{Exit: starved(false, "oom-kill")}, vm.CauseOOMCgroup, vm.Certain, "the kernel killed qemu, process 7 at its own memory limit: 255MiB used of 256MiB; raise memory, or look for a leak of the VMM"},
		{"host's memory", policies.Evidence{Exit: starved(true, ""), Ready: true}, vm.CauseOOMHost, vm.Certain, "the kernel killed qemu, process 7, which used 255MiB of the 256MiB that it may: the memory of the node, or of a cgroup around, was at its end; stop a VM, or give the node more"},
		{"host's memory, which systemd counts as its own", policies.Evidence{Exit: starved(true, "oom-kill")}, vm.CauseOOMHost, vm.Certain, "the kernel killed qemu, process 7, which used 255MiB of the 256MiB that it may: the memory of the node, or of a cgroup around, was at its end; stop a VM, or give the node more"},
		{"memory, and the probes had noticed", policies.Evidence{Exit: starved(false, ""), Unhealthy: "x", Ready: true}, vm.CauseOOMCgroup, vm.Certain, "the kernel killed qemu, process 7 at its own memory limit: 255MiB used of 256MiB; raise memory, or look for a leak of the VMM"},
		{"poweroff", policies.Evidence{PoweredOff: true, Exit: exit(0, 0), Ready: true}, vm.CauseGuestPoweroff, vm.Certain, "the guest powered itself off"},
		{"poweroff while starting", policies.Evidence{PoweredOff: true}, vm.CauseGuestPoweroff, vm.Certain, "the guest powered itself off before it answered"},
		{"poweroff, then the VMM crashes at the exit", policies.Evidence{PoweredOff: true, Exit: exit(0, 11), Ready: true}, vm.CauseGuestPoweroff, vm.Certain, "the guest powered itself off"},
		{"reset", policies.Evidence{Reset: true, Exit: exit(0, 0), Ready: true}, vm.CauseGuestReset, vm.Certain, "the guest reset itself"},
		{"no such kernel", policies.Evidence{StartError: "no file /boot/x", Permanent: true}, vm.CauseStartPermanent, vm.Certain, "no file /boot/x"},
		{"the bus is away", policies.Evidence{StartError: "no answer of the bus"}, vm.CauseStartTransient, vm.Certain, "no answer of the bus"},
		{"the start failed because the VMM ended", policies.Evidence{StartError: "connection refused", Exit: exit(1, 0), Stderr: "qemu: bad option\n"}, vm.CauseVMMCrash, vm.Certain, "the VMM ended with status 1 before the guest answered: qemu: bad option"},
		{"segfault", policies.Evidence{Exit: exit(0, 11), Ready: true}, vm.CauseVMMCrash, vm.Certain, "the VMM crashed, killed by signal 11 (SEGV)"},
		{"segfault with a core", policies.Evidence{Exit: &vm.Exit{Known: true, Signal: 11, Core: true}, Ready: true, Stderr: "oops\n"}, vm.CauseVMMCrash, vm.Certain, "the VMM crashed, killed by signal 11 (SEGV), core dumped: oops"},
		{"sandbox, the probes noticed first", policies.Evidence{Exit: exit(0, 31), Unhealthy: "x", Ready: true}, vm.CauseVMMCrash, vm.Certain, "the VMM crashed, killed by signal 31 (SYS)"},
		{"SIGKILL by who knows", policies.Evidence{Exit: exit(0, 9), Ready: true}, vm.CauseVMMCrash, vm.Guessed, "the VMM was killed by signal 9 (KILL)"},
		{"an odd signal", policies.Evidence{Exit: exit(0, 12), Ready: true}, vm.CauseVMMCrash, vm.Guessed, "the VMM was killed by signal 12"},
		{"SIGTERM", policies.Evidence{Exit: exit(0, 15), Ready: true}, vm.CauseOperator, vm.Likely, "somebody on the host ended the VMM, killed by signal 15 (TERM)"},
		{"quit by its monitor", policies.Evidence{Exit: exit(0, 0), Ready: true}, vm.CauseOperator, vm.Likely, "somebody on the host told the VMM to quit"},
		{"unhealthy, we kill", policies.Evidence{Unhealthy: "guest-agent: 3 of 3 failures in a row", Exit: exit(0, 9), KilledByUs: true, Ready: true}, vm.CauseHealthFailed, vm.Likely, "guest-agent: 3 of 3 failures in a row"},
		{"unhealthy, still alive", policies.Evidence{Unhealthy: "x", Alive: true, Ready: true}, vm.CauseHealthFailed, vm.Likely, "x"},
		{"silent start", policies.Evidence{Overdue: 2 * time.Minute, Launched: true, Alive: true}, vm.CauseHealthFailed, vm.Likely, "the guest did not answer within 2m"},
		{"slow preparing", policies.Evidence{Overdue: 2 * time.Minute}, vm.CauseStartTransient, vm.Likely, "not prepared within 2m"},
		{"killed by us for nothing else", policies.Evidence{KilledByUs: true, Exit: exit(0, 9), Ready: true}, vm.CauseUs, vm.Certain, "killed by the node"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.seen.Incarnation, tt.seen.At = 7, begin
			f := policies.Classify(tt.seen)
			if f.Cause != tt.cause || f.Evidence != tt.evidence || f.Confidence != tt.sure {
				t.Errorf("got  %s (%s): %s\nwant %s (%s): %s", f.Cause, f.Confidence, f.Evidence, tt.cause, tt.sure, tt.evidence)
			}
			if f.Incarnation != 7 || !f.At.Equal(begin) || f.Exit != tt.seen.Exit || f.Alive != tt.seen.Alive || f.Ready != tt.seen.Ready {
				t.Errorf("the failure lost what was seen: %+v", f)
			}
		})
	}
}

// TestEveryCauseIsSureToADegree: also of those that nobody had to find out.
func TestEveryCauseIsSureToADegree(t *testing.T) {
	want := map[vm.Cause]vm.Confidence{vm.CauseUnknown: vm.Guessed, vm.CauseHealthFailed: vm.Likely, vm.CauseVMMCrash: vm.Likely}
	for _, c := range vm.Causes() {
		sure := want[c]
		if sure == "" {
			sure = vm.Certain
		}
		if got := policies.Sure(c); got != sure {
			t.Errorf("%s is %s, want %s", c, got, sure)
		}
	}
}

// P15: whatever a guest writes, the evidence is one bounded, printable line.
func TestEvidenceOfAHostileGuestIsOnePrintableLine(t *testing.T) {
	hostile := func(t *rapid.T, name string) string {
		return string(rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		e := policies.Evidence{
			Panicked: rapid.Bool().Draw(t, "panicked"), Detail: hostile(t, "detail"), Stderr: hostile(t, "stderr"),
			Unhealthy: hostile(t, "unhealthy"), StartError: hostile(t, "start"), KilledBy: hostile(t, "by"),
			Console: []byte(hostile(t, "before") + "Kernel panic - not syncing" + hostile(t, "after")),
		}
		if rapid.Bool().Draw(t, "no panic") {
			e.Console, e.KilledBy = nil, ""
		}
		f := policies.Classify(e)
		control := func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e || r == 0x2028 }
		if len(f.Evidence) > 240 || !utf8.ValidString(f.Evidence) || strings.ContainsFunc(f.Evidence, control) {
			t.Fatalf("%d bytes: %q", len(f.Evidence), f.Evidence)
		}
	})
}

func TestEvidenceKeepsWhatPeopleWrite(t *testing.T) {
	f := policies.Classify(policies.Evidence{Unhealthy: "größe \x1b[31m\x00 \xff\r\n ok"})
	if want := `größe ^[[31m^@ \xff ok`; f.Evidence != want {
		t.Errorf("got %q, want %q", f.Evidence, want)
	}
}
