package policies

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

// EndedUnseen is the evidence of a death whose time nobody knows either: its
// record has when it was found.
const EndedUnseen = "its VMM ended while no daemon looked"

// Evidence is all that is known of the end of an incarnation. The zero value
// of a field means "not seen".
type Evidence struct {
	Incarnation vm.Incarnation
	At          time.Time
	Ready       bool // the guest had answered
	Alive       bool // the VMM may still live
	Launched    bool // a VMM was launched
	Runner      bool // somebody else's runner: it ends by itself when its guest does
	Unseen      bool // it ended while no daemon looked

	KilledBy   string // who asked for the kill, or empty
	KilledByUs bool   // we killed it, for none of the reasons below

	// The VMM's own words. Reset and PoweredOff are those that ended the
	// incarnation, not earlier reboots in place.
	Panicked, DiskFailed, Reset, PoweredOff bool
	Crashed                                 bool   // the guest panicked, and handed over to a crash kernel of its own
	Hung                                    bool   // nobody in the guest fed its watchdog any more
	Broken                                  bool   // the VMM can't run the guest on, for a reason of its own
	Detail                                  string // what it said beside, may hold text of the guest

	Console []byte // the last bytes of this incarnation's console
	Stderr  string // the last bytes that the VMM wrote itself
	Exit    *vm.Exit
	Log     string // the line of the kernel's log by which it was killed for want of memory, where nobody else says so

	StartError string // what a port said when the start failed
	Permanent  bool   // that trying again would change nothing

	Unhealthy string        // the verdict of the probes, or empty
	Overdue   time.Duration // the deadline of the start that passed, or 0
}

// maxEvidence bounds what a guest can make us keep and print (P15).
const maxEvidence = 240

// panicMark begins the line with which every Linux kernel panics.
var panicMark = []byte("Kernel panic - not syncing")

// Classify finds the root cause, not the last domino: a guest that panics
// makes its probes fail, for which we kill its VMM, whose exit then tells of a
// SIGKILL. So what stands earlier in such a chain is asked first. Stall of the
// host is no evidence: whoever gathers it leaves stalled probes out (P16).
func Classify(e Evidence) vm.Failure {
	v := rootCause(e)
	return vm.Failure{
		Incarnation: e.Incarnation, Cause: v.cause, Evidence: oneLine(v.why), Confidence: v.sure, At: e.At,
		Exit: e.Exit, Alive: e.Alive, Ready: e.Ready,
	}
}

// Sure is how sure a cause is that somebody told, and nobody had to find out.
func Sure(c vm.Cause) vm.Confidence {
	switch c {
	case vm.CauseUnknown:
		return vm.Guessed
	case vm.CauseHealthFailed, vm.CauseVMMCrash:
		return vm.Likely
	case vm.CauseGuestPoweroff, vm.CauseGuestReset, vm.CauseGuestPanic, vm.CauseOOMCgroup, vm.CauseOOMHost, vm.CauseIOError,
		vm.CauseStartTransient, vm.CauseStartPermanent, vm.CauseOperator, vm.CauseUs, vm.CauseHostReboot, vm.CauseLinkLost, vm.CauseSavedState:
	}
	return vm.Certain
}

// verdict is a cause, how sure it is, and what shows it.
type verdict struct {
	cause vm.Cause
	sure  vm.Confidence
	why   string
}

func rootCause(e Evidence) verdict {
	console := panicLine(e.Console)
	switch {
	case e.KilledBy != "":
		return verdict{vm.CauseOperator, vm.Certain, "killed by " + e.KilledBy}
	case e.DiskFailed:
		return verdict{vm.CauseIOError, vm.Certain, with("a disk of the host failed and the guest was halted", e.Detail)}
	case e.Panicked:
		return verdict{vm.CauseGuestPanic, vm.Certain, with("the guest panicked", firstOf(console, e.Detail))}
	case starved(e.Exit) || e.Log != "":
		return outOfMemory(e)
	case e.Broken:
		return verdict{vm.CauseVMMCrash, vm.Certain, with("the VMM can't run the guest on and halted it", complaint(e.Stderr))}
	case e.Crashed:
		return verdict{vm.CauseGuestPanic, vm.Certain, with("the guest panicked, and its own crash kernel went on", firstOf(console, e.Detail))}
	case console != "": // a guest may write what it likes, so this is never certain
		return verdict{vm.CauseGuestPanic, vm.Likely, with("the guest's console shows a panic", console)}
	case e.Hung:
		return verdict{vm.CauseHealthFailed, vm.Certain, "the guest's watchdog fired: it hung"}
	case e.Reset:
		return verdict{vm.CauseGuestReset, vm.Certain, with("the guest reset itself"+early(e), e.Detail)}
	case e.PoweredOff:
		return verdict{vm.CauseGuestPoweroff, vm.Certain, with("the guest powered itself off"+early(e), e.Detail)}
	case e.StartError != "" && e.Permanent:
		return verdict{vm.CauseStartPermanent, vm.Certain, e.StartError}
	case crashed(e.Exit):
		return verdict{vm.CauseVMMCrash, vm.Certain, with("the VMM crashed, "+ended(*e.Exit)+unready(e), lastLine(e.Stderr))}
	}
	return unspoken(e)
}

// unspoken finds the cause of an end of which neither the VMM nor the guest said
// anything.
func unspoken(e Evidence) verdict {
	switch {
	case e.Unhealthy != "":
		return verdict{vm.CauseHealthFailed, vm.Likely, e.Unhealthy}
	case e.Overdue > 0 && e.Launched:
		return verdict{vm.CauseHealthFailed, vm.Likely, "the guest did not answer within " + vm.Span(e.Overdue)}
	case e.Exit != nil && e.Exit.Known && !e.KilledByUs:
		return fromExit(e)
	case e.StartError != "":
		return verdict{vm.CauseStartTransient, vm.Certain, e.StartError}
	case e.Overdue > 0:
		return verdict{vm.CauseStartTransient, vm.Likely, "not prepared within " + vm.Span(e.Overdue)}
	case e.KilledByUs:
		return verdict{vm.CauseUs, vm.Certain, "killed by the node"}
	case e.Unseen:
		return verdict{vm.CauseUnknown, vm.Guessed, EndedUnseen}
	}
	return verdict{vm.CauseUnknown, vm.Guessed, with("the VMM is gone and nobody saw how"+unready(e), lastLine(e.Stderr))}
}

// Unexplained says whether somebody killed the VMM, and it is not known who.
func Unexplained(x *vm.Exit) bool {
	return x != nil && x.Known && x.Signal == sigKILL && !starved(x)
}

// starved says whether the kernel ended it for want of memory.
func starved(x *vm.Exit) bool { return x != nil && (x.OOM != nil || x.Result == "oom-kill") }

// outOfMemory tells whose memory was at its end, with the numbers and what to do.
func outOfMemory(e Evidence) verdict {
	try := "raise memory, or look for a leak of the VMM"
	if e.Runner {
		try = "set memory to what the runner was built with, or look for a leak of its VMM"
	}
	if !starved(e.Exit) {
		return fromLog(e.Log, try)
	}
	switch o := e.Exit.OOM; {
	case o == nil: // systemd alone has seen it
		return verdict{vm.CauseOOMCgroup, vm.Certain, "killed at its own memory limit: " + try}
	case o.Host:
		return verdict{vm.CauseOOMHost, vm.Certain, fmt.Sprintf("the kernel killed %s, which used %v of the %v that it may: the memory of the node, or of a cgroup around, was at its end; %s",
			o.Victim, o.Usage, o.Limit, tryHost)}
	default:
		return verdict{vm.CauseOOMCgroup, vm.Certain, fmt.Sprintf("the kernel killed %s at its own memory limit: %v used of %v; %s", o.Victim, o.Usage, o.Limit, try)}
	}
}

// tryHost is what helps a node whose memory is at its end.
const tryHost = "stop a VM, or give the node more"

// fromLog believes the kernel's log: that it means this VMM follows from the pid alone.
func fromLog(line, try string) verdict {
	if strings.HasPrefix(line, "Memory cgroup") {
		return verdict{vm.CauseOOMCgroup, vm.Likely, "by the kernel's log it was killed at the memory limit of a cgroup; " + try + ": " + line}
	}
	return verdict{vm.CauseOOMHost, vm.Likely, "by the kernel's log the memory of the node was at its end; " + tryHost + ": " + line}
}

// fromExit is asked when nothing but the wait status speaks.
func fromExit(e Evidence) verdict {
	x := *e.Exit
	switch {
	case x.Signal == sigTERM || x.Signal == sigINT || x.Signal == sigHUP:
		return verdict{vm.CauseOperator, vm.Likely, "somebody on the host ended the VMM, " + ended(x)}
	case x.Signal == 0 && x.Code == 0 && e.Runner:
		return verdict{vm.CauseGuestPoweroff, vm.Likely, "the runner ended with its guest" + early(e)}
	case x.Signal == 0 && x.Code == 0:
		// QEMU ends with 0 only when it is told to: by its monitor or a signal that it handles.
		return verdict{vm.CauseOperator, vm.Likely, "somebody on the host told the VMM to quit" + unready(e)}
	case x.Signal != 0:
		// Also a SIGKILL: nobody can say who sent it, so it is charged, like an end that nobody saw.
		return verdict{vm.CauseVMMCrash, vm.Guessed, with("the VMM was "+ended(x)+unready(e), lastLine(e.Stderr))}
	}
	return verdict{vm.CauseVMMCrash, vm.Certain, with("the VMM "+ended(x)+unready(e), lastLine(e.Stderr))}
}

// Signal numbers of Linux; they are the same on every architecture that runs QEMU guests of ours.
const (
	sigHUP, sigINT, sigQUIT, sigILL, sigTRAP, sigABRT, sigBUS, sigFPE = 1, 2, 3, 4, 5, 6, 7, 8
	sigKILL, sigSEGV, sigTERM, sigXCPU, sigXFSZ, sigSYS               = 9, 11, 15, 24, 25, 31
)

var signalNames = map[int]string{
	sigHUP: "HUP", sigINT: "INT", sigQUIT: "QUIT", sigILL: "ILL", sigTRAP: "TRAP", sigABRT: "ABRT", sigBUS: "BUS",
	sigFPE: "FPE", sigKILL: "KILL", sigSEGV: "SEGV", sigTERM: "TERM", sigXCPU: "XCPU", sigXFSZ: "XFSZ", sigSYS: "SYS",
}

// crashed says whether the VMM ended by a signal that no kill of ours sends:
// then it is the root, even where the probes had noticed first.
func crashed(x *vm.Exit) bool {
	if x == nil || !x.Known {
		return false
	}
	switch x.Signal {
	case sigQUIT, sigILL, sigTRAP, sigABRT, sigBUS, sigFPE, sigSEGV, sigXCPU, sigXFSZ, sigSYS:
		return true
	}
	return false
}

func ended(x vm.Exit) string {
	if x.Signal == 0 {
		return "ended with status " + strconv.Itoa(x.Code)
	}
	s := "killed by signal " + strconv.Itoa(x.Signal)
	if name := signalNames[x.Signal]; name != "" {
		s += " (" + name + ")"
	}
	if x.Core {
		s += ", core dumped"
	}
	return s
}

func unready(e Evidence) string {
	if e.Ready {
		return ""
	}
	return " before the guest answered"
}

func early(e Evidence) string {
	if e.Ready {
		return ""
	}
	return " before it answered"
}

// HasPanic says whether a Linux kernel's panic stands in the console's tail.
func HasPanic(console []byte) bool { return bytes.Contains(console, panicMark) }

// panicLine is the first panic in the console's tail: later ones follow from it.
func panicLine(console []byte) string {
	i := bytes.Index(console, panicMark)
	if i < 0 {
		return ""
	}
	line := console[i:min(len(console), i+maxEvidence)]
	if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
		line = line[:end]
	}
	return string(line)
}

// complaint is the line by which QEMU tells why a guest can't run on: registers
// follow it.
func complaint(stderr string) string {
	for line := range strings.Lines(stderr[max(0, len(stderr)-64*maxEvidence):]) {
		if strings.Contains(line, "internal error") || strings.Contains(line, "kvm run failed") {
			return strings.TrimSpace(line)
		}
	}
	return lastLine(stderr)
}

// lastLine is the last thing that a VMM said which may have to do with its end:
// it goes on after a warning.
func lastLine(s string) (last string) {
	for line := range strings.Lines(s[max(0, len(s)-16*maxEvidence):]) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "warning:") {
			last = line
		}
	}
	return last
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func with(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + ": " + detail
}

// oneLine makes text of anybody one line that no terminal interprets, of at
// most maxEvidence bytes (P15).
func oneLine(s string) string { return vm.OneLine(s, maxEvidence) }
