package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const (
	defaultExec = 30 * time.Second
	maxExec     = 10 * time.Minute
)

// noteCall journals a call that makes no turn of its own.
func (d *Door) noteCall(ctx context.Context, rec vm.Record, kind, why string) error {
	_, err := d.Journal.Note(vm.Entry{
		At: d.Now(), VM: rec.ID, Name: rec.Spec.Name, Kind: kind, Incarnation: rec.State.Incarnation,
		Revision: rec.State.Revision, Why: why, By: callerOf(ctx).String(),
	})
	return err
}

// liveVM is the record of a VM whose VMM lives.
func (d *Door) liveVM(name string) (vm.Record, error) {
	rec, err := d.find(name)
	if err == nil && rec.State.Phase&vm.Live == 0 {
		try := "explain" // it says what comes next, and what can be done
		if rec.State.Phase&(vm.Stopped|vm.Backoff|vm.Suspended) != 0 {
			try = "start"
		}
		return rec, &vm.Refusal{
			Code: vm.WrongPhase, Why: fmt.Sprintf("%s has no VMM to talk to (phase %s)", rec.Spec.Name, rec.State.Phase),
			Try: fmt.Sprintf("blixard vm %s %s", try, rec.Spec.Name),
		}
	}
	return rec, err
}

// Console joins the caller and the VM's serial console until one of both ends it.
func (d *Door) Console(ctx context.Context, s *connect.BidiStream[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]) error {
	first, err := s.Receive()
	if errors.Is(err, io.EOF) {
		err = invalid("the first message names no VM", "send its name first")
	}
	if err != nil {
		return d.wireError(s.Spec().Procedure, err)
	}
	return d.wireError(s.Spec().Procedure, d.console(ctx, first, s))
}

func (d *Door) console(ctx context.Context, first *blixardv1.ConsoleInput, s *connect.BidiStream[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]) error {
	rec, err := d.liveVM(first.GetName())
	if err != nil {
		return err
	}
	at := d.pathsOf(rec, rec.State.Incarnation)
	if p := rec.State.Process; p != nil {
		at.VMM = *p // as recorded: whoever reaches for its socket proves it (P8)
	}
	guest, err := d.Consoles.Dial(ctx, at)
	if err != nil {
		return consoleBusy(rec, err)
	}
	defer func() { _ = guest.Close() }()
	if err := d.noteCall(ctx, rec, "ConsoleOpened", "interactive console"); err != nil {
		return err
	}
	if err := s.Send(&blixardv1.ConsoleOutput{}); err != nil {
		return err
	}
	ends, silent := make(chan error, 2), make(chan struct{})
	go func() { ends <- toGuest(guest, first.GetData(), s.Receive) }()
	go func() {
		defer close(silent)
		ends <- fromGuest(guest, s.Send)
	}()
	err = d.untilEnd(ctx, ends)
	// The answer's stream is the one thing that both sides write to: the pump
	// has to be still before the last word. The other pump ends with the request.
	_ = guest.Close()
	<-silent
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (d *Door) untilEnd(ctx context.Context, ends <-chan error) error {
	select {
	case err := <-ends:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closing:
		return stopping
	}
}

func consoleBusy(rec vm.Record, err error) error {
	if k := host.KindOf(err); k == host.Broken || k == host.Denied {
		return err
	}
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("the console of %s takes no caller: %v", rec.Spec.Name, err),
		Try: "close the other console of this VM, or look at its phase: blixard vm show " + string(rec.Spec.Name),
	}
}

func toGuest(guest io.Writer, typed []byte, receive func() (*blixardv1.ConsoleInput, error)) error {
	for {
		if _, err := guest.Write(typed); err != nil {
			return io.EOF // the VMM closed it
		}
		m, err := receive()
		if err != nil {
			return err
		}
		typed = m.GetData()
	}
}

func fromGuest(guest io.Reader, send func(*blixardv1.ConsoleOutput) error) error {
	b := make([]byte, logChunk)
	for {
		n, err := guest.Read(b)
		if n > 0 {
			if err := send(&blixardv1.ConsoleOutput{Data: b[:n]}); err != nil {
				return err
			}
		}
		if err != nil {
			return io.EOF // the VMM closed it
		}
	}
}

func (d *Door) exec(ctx context.Context, m *blixardv1.ExecVMRequest) (*blixardv1.ExecVMResponse, error) {
	if len(m.GetArgv()) == 0 || m.GetArgv()[0] == "" {
		return nil, invalid("it names no command", "blixard vm exec NAME -- echo hello")
	}
	limit := defaultExec
	if m.GetTimeout() != nil {
		limit = m.GetTimeout().AsDuration()
	}
	if limit <= 0 || limit > maxExec {
		return nil, invalid(fmt.Sprintf("a command may take between 1 ns and %s", maxExec), "another timeout")
	}
	rec, err := d.liveVM(m.GetName())
	if err != nil {
		return nil, err
	}
	if err := d.noteCall(ctx, rec, "ExecAsked", fmt.Sprintf("%.200q", strings.Join(m.GetArgv(), " "))); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	res, err := d.Node.Exec(ctx, rec.Spec.Name, m.GetArgv())
	if err != nil {
		r, begun := errors.AsType[*vm.Refusal](err) // what is none was not begun
		if now, ok := d.Node.Get(rec.Spec.Name); ok && begun && r.Code == vm.Unavailable && ended(rec, now) {
			return nil, endedMeanwhile(now)
		}
		return nil, notRun(rec, limit, errors.Is(ctx.Err(), context.DeadlineExceeded), err)
	}
	return &blixardv1.ExecVMResponse{
		ExitCode: int32(res.Code), Stdout: res.Stdout, Stderr: res.Stderr, Truncated: res.Truncated,
	}, nil
}

// ended says whether the guest of before is no more, or on its way out.
func ended(before, now vm.Record) bool {
	const live = vm.Running | vm.Paused | vm.Suspending | vm.Adopting
	return now.ID == before.ID && (now.State.Incarnation != before.State.Incarnation || now.State.Phase&live == 0)
}

func endedMeanwhile(now vm.Record) *vm.Refusal {
	name := now.Spec.Name
	return &vm.Refusal{
		Code: vm.Unavailable, Why: fmt.Sprintf("the command may have run: the guest of %s ended meanwhile (phase %s)", name, now.State.Phase),
		Try: fmt.Sprintf("blixard vm crashes %s", name),
	}
}

// notRun says why a command did not run, or did not end in its time. An agent
// that isn't there looks like one that is slow: which is likelier, the VM's
// checks tell.
func notRun(rec vm.Record, limit time.Duration, late bool, err error) error {
	name := rec.Spec.Name
	r, isRefusal := errors.AsType[*vm.Refusal](err)
	hasAgent := slices.ContainsFunc(rec.Spec.Health, func(c vm.Check) bool { return c.Type == vm.CheckAgent })
	switch {
	case late: // whoever was the first to tell of it
	case isRefusal && r.Code != vm.TimedOut || errors.Is(err, context.Canceled):
		return err
	case !isRefusal && !errors.Is(err, context.DeadlineExceeded):
		return &vm.Refusal{
			Code: vm.Unavailable, Why: fmt.Sprintf("no guest agent can be reached in %s: %v", name, err),
			Try: fmt.Sprintf("a guest with qemu-guest-agent; else blixard vm console %s", name),
		}
	}
	if hasAgent {
		return &vm.Refusal{
			Code: vm.TimedOut, Why: fmt.Sprintf("the guest of %s did not finish the command within %s", name, vm.Span(limit)),
			Try: "a longer --timeout; it may still run in the guest",
		}
	}
	return &vm.Refusal{
		Code: vm.TimedOut, Why: fmt.Sprintf("no guest agent of %s has answered within %s, and no check of it says that there is one", name, vm.Span(limit)),
		Try: fmt.Sprintf("qemu-guest-agent in the guest, or blixard vm console %s", name),
	}
}

// ExecVM runs a command in the guest.
func (d *Door) ExecVM(ctx context.Context, r *connect.Request[blixardv1.ExecVMRequest]) (*connect.Response[blixardv1.ExecVMResponse], error) {
	return answer(d.exec(ctx, r.Msg))
}
