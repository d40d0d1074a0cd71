package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// The guest's memory leaves by a pipe as a saved guest does:
//
//	QEMU ── fd:dumped ──▶ pipe ──▶ Dump ──▶ a bundle's file
//
// QEMU has no word that ends a dump. One that nobody reads ends by itself, as
// its next write fails: so does that of a daemon that died.

// dumpedName is what QEMU knows the pipe by.
const dumpedName = "dumped"

// The states of a dump, as query-dump tells them.
const (
	dumpActive    = "active"
	dumpCompleted = "completed"
)

// dumping is the run state of a guest that ran, while it is dumped.
const dumping = "save-vm"

// errDumpCut is a dump that QEMU itself ended.
var errDumpCut = errors.New("QEMU gave the dump up")

// Dump writes the guest's memory; see host.Session. The compressed format is
// the flattened one, which a pipe can take: crash(8) reads it as it is, and
// makedumpfile -R makes a plain one of it.
func (s *session) Dump(ctx context.Context, format vm.DumpFormat, into io.Writer) error {
	word := "kdump-zlib"
	if format == vm.DumpELF {
		word = "elf"
	}
	if err := s.undumped(ctx); err != nil { // an earlier one may be under way
		return err
	}
	out, err := s.pipe(ctx, dumpedName)
	if err != nil {
		return err
	}
	err = s.dump(ctx, word, out, into)
	_ = out.Close() // from now on a dump that is still under way fails; nothing was promised to be read
	if err == nil {
		return nil
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpBound)
	defer cancel()
	if still := s.undumped(stop); still != nil {
		return host.Fail(host.Broken, "dump the guest's memory", fmt.Errorf("%w; it has not ended since, and the guest stands still: %v", err, still))
	}
	return err
}

// dump lets QEMU write and takes what comes until QEMU has closed the pipe.
func (s *session) dump(ctx context.Context, format string, out *os.File, into io.Writer) error {
	const doing = "dump the guest's memory"
	arguments := map[string]any{"paging": false, "detach": true, "protocol": "fd:" + dumpedName, "format": format}
	if _, err := s.call(ctx, "dump-guest-memory", arguments); err != nil {
		return err
	}
	if err := take(ctx, out, into); err != nil {
		return host.Fail(host.Transient, doing, err)
	}
	end, err := s.dumped(ctx)
	if err == nil && end != dumpCompleted {
		err = host.Fail(host.Transient, doing, fmt.Errorf("%w: %s", errDumpCut, clip(end)))
	}
	if err != nil {
		return err
	}
	return s.undumped(ctx)
}

// undumped waits until no dump halts the guest any more. QEMU tells of a dump's
// end first, and lets the guest go on after that.
func (s *session) undumped(ctx context.Context) error {
	if _, err := s.dumped(ctx); err != nil {
		return err
	}
	for {
		moved := s.movement()
		status, err := s.status(ctx)
		if err != nil || status != dumping {
			return err
		}
		if err := s.wait(ctx, "wait for the guest to go on", moved); err != nil {
			return err
		}
	}
}

// dumped waits for the end of a dump and tells which it is; "none" where none
// ever began.
func (s *session) dumped(ctx context.Context) (string, error) {
	for {
		moved := s.movement()
		b, err := s.call(ctx, "query-dump", nil)
		if err != nil {
			return "", err
		}
		var answer struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal(b, &answer); err != nil || answer.Status == "" {
			return "", host.Fail(host.Transient, "query-dump", fmt.Errorf("not understood: %q", clip(string(b))))
		}
		if answer.Status != dumpActive {
			return answer.Status, nil
		}
		if err := s.wait(ctx, "wait for the end of a dump", moved); err != nil {
			return "", err
		}
	}
}
