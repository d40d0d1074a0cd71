package qemu

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// dumpInto dumps the guest of a session into a new file.
func (g *guest) dumpInto(s host.Session, format vm.DumpFormat) string {
	g.t.Helper()
	path := filepath.Join(g.paths.Folder, "dump")
	file, err := os.Create(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer file.Close()
	if err := s.Dump(deadline(g.t), format, file); err != nil {
		g.t.Fatalf("dump: %v", err)
	}
	return path
}

// TestADumpIsReadByWhoReadsDumps: and holds what the guest had in its memory.
func TestADumpIsReadByWhoReadsDumps(t *testing.T) {
	g := start(t, PVHGuest(), needsACPI)
	s, _ := g.attach()
	g.wantLog(PVHMark)

	whole := g.dumpInto(s, vm.DumpELF)
	g.wantState(s, host.GuestRuns)
	g.wantELF(whole)
	if text, err := g.reads("gdb", "-batch", "-nx", "-ex", "info registers eip", "--core", whole); err != nil || !strings.Contains(text, "eip            0x1000") {
		t.Errorf("gdb says of where the guest stands: %v: %s", err, text)
	}

	packed := g.dumpInto(s, "")
	g.wantState(s, host.GuestRuns)
	g.wantKdump(packed)
}

// wantELF looks for the guest's own code in a dump.
func (g *guest) wantELF(path string) {
	g.t.Helper()
	core, err := elf.Open(path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer core.Close()
	if core.Type != elf.ET_CORE {
		g.t.Errorf("a dump of type %v", core.Type)
	}
	held := vm.Bytes(0)
	for _, p := range core.Progs {
		if p.Type == elf.PT_LOAD {
			held += vm.Bytes(p.Filesz)
		}
	}
	if held < g.spec(nil).Memory {
		g.t.Errorf("%v of the guest's %v are in the dump", held, g.spec(nil).Memory)
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, pvhCode(nil, PVHHalts)) {
		g.t.Errorf("the guest's code isn't in its dump (%v)", err)
	}
}

// wantKdump puts a flattened dump together, as crash does, and looks at its header.
func (g *guest) wantKdump(path string) {
	g.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(b, []byte("makedumpfile\x00")) || len(b) > int(g.spec(nil).Memory)/2 {
		g.t.Fatalf("a compressed dump of %d bytes begins with %.40q (%v)", len(b), b, err)
	}
	var whole []byte
	for at := 4096; ; { // blocks, each with its place and its size, to one that has none
		place, size := int64(binary.BigEndian.Uint64(b[at:])), int64(binary.BigEndian.Uint64(b[at+8:]))
		at += 16
		if place < 0 {
			if at != len(b) {
				g.t.Errorf("%d bytes behind the end", len(b)-at)
			}
			break
		}
		if need := place + size - int64(len(whole)); need > 0 {
			whole = append(whole, make([]byte, need)...)
		}
		copy(whole[place:], b[at:at+int(size)])
		at += int(size)
	}
	const blockSize = 428 // of struct disk_dump_header on x86, after the name of the system and a time
	if !bytes.HasPrefix(whole, []byte("KDUMP   ")) || binary.LittleEndian.Uint32(whole[blockSize:]) != 4096 {
		g.t.Errorf("a plain dump of %d bytes begins with %.500q", len(whole), whole)
	}
}

// reads runs a reader of dumps and returns what it says; without it the rest of
// the test is skipped.
func (g *guest) reads(argv ...string) (string, error) {
	g.t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		g.t.Skipf("SKIP reading a dump by %s: not installed", argv[0])
	}
	c := exec.CommandContext(deadline(g.t), path, argv[1:]...)
	c.Dir = g.paths.Folder
	text, err := c.CombinedOutput()
	return string(text), err
}

// TestAPanickedGuestIsDumpedAndStaysWhatItIs: also by a daemon that adopted it.
func TestAPanickedGuestIsDumpedAndStaysWhatItIs(t *testing.T) {
	g := start(t, PVHGuestThat(PVHPanics), needsACPI)
	s, notices := g.attach()
	if state, _ := s.State(deadline(t)); state == host.GuestRuns {
		g.hear(notices, host.NoticePanic)
	}
	for range 2 {
		g.dumpInto(s, vm.DumpKdump)
		g.wantState(s, host.GuestPanicked)
	}
	s.Close()
	adopted, _ := g.attach()
	g.dumpInto(adopted, vm.DumpKdump)
	g.wantState(adopted, host.GuestPanicked)
}

// TestWhoGivesUpADumpLetsTheGuestGoOn: by what can't take it, by ctx, or by the
// end of the session.
func TestWhoGivesUpADumpLetsTheGuestGoOn(t *testing.T) {
	g := start(t, PVHGuest(), large)
	s, _ := g.attach()
	if err := s.Dump(deadline(t), vm.DumpELF, &stuck{left: 4096}); !errors.Is(err, errDiskFull) || host.KindOf(err) != host.Transient {
		t.Fatalf("want the writer's own error, got %v", err)
	}
	g.wantState(s, host.GuestRuns)

	ctx, cancel := context.WithCancel(t.Context())
	slow := &stuck{left: 1, wait: ctx.Done(), met: make(chan struct{})}
	go func() {
		<-slow.met
		cancel()
	}()
	if err := s.Dump(ctx, vm.DumpELF, slow); err == nil || host.KindOf(err) != host.Transient {
		t.Fatalf("a dump that was given up: %v", err)
	}
	g.wantState(s, host.GuestRuns)

	cut := &stuck{left: 1, wait: g.closed(s), met: make(chan struct{})}
	gone := make(chan error, 1)
	go func() { gone <- s.Dump(deadline(t), vm.DumpELF, cut) }()
	<-cut.met
	s.Close()
	if err := <-gone; err == nil {
		t.Error("a session that was closed dumped on")
	}
	adopted, _ := g.attach()
	g.dumpInto(adopted, vm.DumpKdump) // waits for the end of the one before
	g.wantState(adopted, host.GuestRuns)
}

// closed is closed with the session.
func (g *guest) closed(s host.Session) <-chan struct{} {
	g.t.Helper()
	mine, ok := s.(*session)
	if !ok {
		g.t.Fatalf("a session of type %T", s)
	}
	return mine.ended
}

func TestAVMMThatDiesWhileItIsDumpedIsGone(t *testing.T) {
	g := start(t, PVHGuest(), large)
	s, _ := g.attach()
	gone := &stuck{left: 1, wait: g.ended, met: make(chan struct{})}
	go func() {
		<-gone.met
		_ = g.process.Process.Kill()
	}()
	if err := s.Dump(deadline(t), vm.DumpELF, gone); err == nil {
		t.Fatal("the dead was dumped")
	}
	if _, err := s.State(deadline(t)); host.KindOf(err) != host.Gone {
		t.Errorf("state of a dead VMM: %v, want Gone", err)
	}
}
