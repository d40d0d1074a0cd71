package host

import (
	"errors"
	"fmt"
)

// Kind is the kind of a port's failure, set where it is born.
type Kind uint8

// The kinds.
const (
	Broken    Kind = iota + 1 // it will not work until somebody changes something
	Transient                 // trying again may help
	Gone                      // the thing isn't there
	Denied                    // we are not allowed to
)

// Error is a port's failure.
type Error struct {
	Kind  Kind
	Doing string // what was being done: "launch qemu"
	Cause error
}

// Error reads "launch qemu: no such file".
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Doing, e.Cause) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Fail makes a port's failure.
func Fail(k Kind, doing string, cause error) error {
	return &Error{Kind: k, Doing: doing, Cause: cause}
}

// KindOf returns the kind of a port's failure. An error that names none is
// Transient, and so is no error: whoever asks for another kind asks for an error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Transient
}
