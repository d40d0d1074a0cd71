package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// hangs begins to feed the watchdog on q35 and forgets it: it fires after two milliseconds.
var hangs = PVHEnd{
	0xbb, 0x00, 0x00, 0x00, 0x80, // mov ebx, the first device on the bus
	0x89, 0xd8, 0x66, 0xba, 0xf8, 0x0c, 0xef, 0xb2, 0xfc, 0xed, // next: what is it?
	0x3d, 0x86, 0x80, 0xab, 0x25, 0x74, 0x08, // an Intel 6300ESB: jz found
	0x81, 0xc3, 0x00, 0x08, 0x00, 0x00, 0xeb, 0xe7, // add ebx, 1 << 11; jmp next
	0x8d, 0x43, 0x04, 0xb2, 0xf8, 0xef, 0xb2, 0xfc, 0xb8, 0x02, 0x00, 0x00, 0x00, 0xef, // found: switch its memory on
	0x8d, 0x43, 0x10, 0xb2, 0xf8, 0xef, 0xb2, 0xfc, 0xed, 0x83, 0xe0, 0xf0, 0x89, 0xc7, // mov edi, its memory
	0xc7, 0x47, 0x0c, 0x80, 0x00, 0x00, 0x00, 0xc7, 0x47, 0x0c, 0x86, 0x00, 0x00, 0x00, // unlock
	0xc7, 0x07, 0x01, 0x00, 0x00, 0x00, // one tick for the first stage
	0xc7, 0x47, 0x0c, 0x80, 0x00, 0x00, 0x00, 0xc7, 0x47, 0x0c, 0x86, 0x00, 0x00, 0x00, // unlock
	0xc7, 0x47, 0x04, 0x01, 0x00, 0x00, 0x00, // and one for the second
	0x8d, 0x43, 0x68, 0xb2, 0xf8, 0xef, 0xb2, 0xfc, 0xb0, 0x02, 0xee, // begin
}

// onQ35 is a PVH guest on the machine of a disk that boots itself.
func onQ35(t *testing.T, end PVHEnd) *guest {
	t.Helper()
	disk := shortDir(t) + "/boot.raw"
	if err := os.WriteFile(disk, make([]byte, vm.MiB), 0o600); err != nil {
		t.Fatal(err)
	}
	g, c := prepare(t, PVHGuestThat(end), func(s *vm.Spec) { s.Boot, s.Memory = vm.Boot{Disk: disk}, 64*vm.MiB })
	g.kernel = g.paths.Folder + "/guest.elf"
	if err := os.WriteFile(g.kernel, PVHGuestThat(end), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, word := range c.Argv { // the firmware boots from what has this index: the kernel
		c.Argv[i] = strings.TrimSuffix(word, ",bootindex=0")
	}
	c.Argv = append(c.Argv, "-kernel", g.kernel)
	g.launch(c)
	return g
}

// TestAHungGuestIsToldByItsWatchdog: it stands as it hung, also for a daemon
// that comes later, can be dumped, and boots again.
func TestAHungGuestIsToldByItsWatchdog(t *testing.T) {
	g := onQ35(t, hangs)
	s, notices := g.attach()
	if state, _ := s.State(deadline(t)); state == host.GuestRuns {
		g.hear(notices, host.NoticeWatchdog)
	}
	g.wantState(s, host.GuestHung)
	g.dumpInto(s, vm.DumpKdump)
	g.wantState(s, host.GuestHung)
	s.Close()
	adopted, again := g.attach()
	g.wantState(adopted, host.GuestHung)
	if err := adopted.Reset(deadline(t)); err != nil {
		t.Fatal(err)
	}
	g.hear(again, host.NoticeWatchdog) // it does the same in its next life, and nobody hears its firmware's own resets
}

func TestAPanicIsToldOnQ35Too(t *testing.T) {
	g := onQ35(t, PVHPanics)
	s, notices := g.attach()
	if state, _ := s.State(deadline(t)); state == host.GuestRuns {
		g.hear(notices, host.NoticePanic)
	}
	g.wantState(s, host.GuestPanicked)
}

// TestAResetIsHeardOnceOnQ35: a guest that resets is heard, and not its
// firmware, which resets some more times; one that goes on to reset is heard again.
func TestAResetIsHeardOnceOnQ35(t *testing.T) {
	g := onQ35(t, PVHResets)
	_, notices := g.attach()
	g.hear(notices, host.NoticeReset)
	first := time.Now()
	g.hear(notices, host.NoticeReset)
	if took := time.Since(first); took < echoTime/2 {
		t.Errorf("it was heard again after %v", took)
	}
}

// TestAResetOfUnknownMachines: whoever joins any QEMU asks for its machine.
func TestAResetOfUnknownMachines(t *testing.T) {
	for _, bios := range []bool{true, false} {
		var g *guest
		if bios {
			g = onQ35(t, PVHHalts)
		} else {
			g = start(t, PVHGuest(), nil)
		}
		conn, err := dial(deadline(t), g.paths.QMP, vm.Process{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Join(deadline(t), conn, func(host.Notice) {})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if mine, ok := s.(*session); !ok || mine.firmware.Load() != bios {
			t.Errorf("a PC's firmware: want %v", bios)
		}
	}
}

// TestAnInternalErrorIsAskedFor: QEMU tells of it by nothing but that the guest
// was halted, which it also is by a person.
func TestAnInternalErrorIsAskedFor(t *testing.T) {
	heard := make(chan host.Notice, 8)
	words := []string{"paused", "internal-error"}
	over := make(chan struct{})
	_, err := fakeQEMU(t, func(n host.Notice) { heard <- n }, func(in *bufio.Scanner, out io.WriteCloser) {
		defer close(over)
		for _, word := range words {
			_, _ = io.WriteString(out, `{"event":"STOP"}`+"\n")
			id := nextID(in, "query-status")
			fmt.Fprintf(out, `{"return": {"status": %q}, "id": %d}`+"\n", word, id)
		}
		_, _ = io.WriteString(out, `{"event":"WATCHDOG","data":{"action":"pause"}}`+"\n")
	})
	if err != nil {
		t.Fatal(err)
	}
	<-over
	kinds := map[host.NoticeKind]bool{(<-heard).Kind: true, (<-heard).Kind: true} // in whichever order: one is told by an answer
	if !kinds[host.NoticeBroken] || !kinds[host.NoticeWatchdog] || len(heard) != 0 {
		t.Errorf("heard %v and %d more", kinds, len(heard))
	}
}

// TestStopsWithoutAnAnswerAreBounded: a QEMU that says STOP for ever and answers
// nothing makes one goroutine wait.
func TestStopsWithoutAnAnswerAreBounded(t *testing.T) {
	asked := make(chan error, 1)
	s, err := fakeQEMU(t, func(host.Notice) {}, func(in *bufio.Scanner, out io.WriteCloser) {
		for range 10000 {
			_, _ = io.WriteString(out, `{"event":"STOP"}`+"\n")
		}
		if nextID(in, "query-status") == 0 {
			asked <- errors.New("nobody asks why it was halted")
			return
		}
		_, _ = io.WriteString(out, `{"event":"WATCHDOG","data":{"action":"pause"}}`+"\n")
		_ = out.Close()
		if in.Scan() {
			asked <- fmt.Errorf("it is asked %s as well", in.Text())
			return
		}
		asked <- nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	s.Close()
}

// TestEveryRunStateHasItsMeaning: of those that QEMU 7.2 knows.
func TestEveryRunStateHasItsMeaning(t *testing.T) {
	for word, want := range map[string]host.GuestState{
		"debug": host.GuestOther, "inmigrate": host.GuestLoading, "internal-error": host.GuestBroken, "io-error": host.GuestIOError,
		"paused": host.GuestPaused, "postmigrate": host.GuestSaved, "prelaunch": host.GuestOther, "finish-migrate": host.GuestOther,
		"restore-vm": host.GuestOther, "running": host.GuestRuns, "save-vm": host.GuestOther, "shutdown": host.GuestOff,
		"suspended": host.GuestOther, "watchdog": host.GuestHung, "guest-panicked": host.GuestPanicked, "colo": host.GuestOther,
		"no-space": host.GuestOther, "": host.GuestOther,
	} {
		if got := guestState(word); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}
