package messages

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// connectCodes has the wire's code for each of ours.
var connectCodes = map[vm.Code]connect.Code{
	vm.Invalid:     connect.CodeInvalidArgument,
	vm.NotFound:    connect.CodeNotFound,
	vm.Exists:      connect.CodeAlreadyExists,
	vm.WrongPhase:  connect.CodeFailedPrecondition,
	vm.Denied:      connect.CodePermissionDenied,
	vm.NoRoom:      connect.CodeResourceExhausted,
	vm.Unavailable: connect.CodeUnavailable,
	vm.TimedOut:    connect.CodeDeadlineExceeded,
	vm.Internal:    connect.CodeInternal,
}

// RefusalToError is the refusal as it travels: its sentence as the message, and
// itself as the detail.
func RefusalToError(r *vm.Refusal) *connect.Error {
	code, ok := connectCodes[r.Code]
	if !ok {
		code = connect.CodeUnknown
	}
	e := connect.NewError(code, errors.New(Text(r.Error())))
	detail, err := connect.NewErrorDetail(RefusalToProto(r))
	if err == nil { // it has no way to fail: a Refusal holds valid strings alone
		e.AddDetail(detail)
	}
	return e
}

// RefusalToProto is what `-o json` prints for an error.
func RefusalToProto(r *vm.Refusal) *blixardv1.Refusal {
	return &blixardv1.Refusal{Code: string(r.Code), Why: Text(r.Why), Try: Text(r.Try)}
}

// RefusalOf reads, at the client, what the socket answered. An error that never
// reached the daemon is Unavailable; nil stays nil.
func RefusalOf(err error) *vm.Refusal {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*vm.Refusal](err); ok {
		return r
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return plainRefusal(err)
	}
	for _, d := range e.Details() {
		m, err := d.Value()
		if p, ok := m.(*blixardv1.Refusal); ok && err == nil {
			return &vm.Refusal{Code: vm.Code(p.GetCode()), Why: p.GetWhy(), Try: p.GetTry()}
		}
	}
	for ours, theirs := range connectCodes {
		if theirs == e.Code() && ours != vm.NoRoom {
			return &vm.Refusal{Code: ours, Why: e.Message()}
		}
	}
	if e.Code() == connect.CodeResourceExhausted { // the wire's own limits, such as a message's size
		return &vm.Refusal{Code: vm.Invalid, Why: e.Message()}
	}
	return &vm.Refusal{Code: vm.Internal, Why: e.Message()}
}

func plainRefusal(err error) *vm.Refusal {
	if errors.Is(err, context.DeadlineExceeded) {
		return &vm.Refusal{Code: vm.TimedOut, Why: err.Error()}
	}
	return &vm.Refusal{Code: vm.Unavailable, Why: err.Error()}
}
