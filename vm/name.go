package vm

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"regexp"
)

// Name is what people call a VM. It becomes part of paths, unit names and
// actor paths, so nothing but ValidName's alphabet ever gets into one.
type Name string

// ID is the uid of a VM: 16 lower-case hexadecimal digits, never used again.
type ID string

// Incarnation counts the launches of one VM, from 1. Zero: never launched.
type Incarnation uint64

// Revision counts the turns of one VM: each durable write adds one.
type Revision uint64

// BootID is the kernel's random name of one boot of the node.
type BootID string

// MaxName leaves room for "/run/blixard/vm/NAME/console.sock" inside the 107
// bytes of a unix socket's path, and for "blixard-NAME.service".
const MaxName = 40

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// ParseName returns the name, or a refusal that says what is wrong with it.
func ParseName(s string) (Name, error) {
	switch {
	case s == "":
		return "", &Refusal{Code: Invalid, Why: "the name of the VM is empty", Try: "give it a name such as web-1"}
	case len(s) > MaxName:
		return "", &Refusal{
			Code: Invalid, Why: fmt.Sprintf("a VM name has at most %d characters, this one has %d", MaxName, len(s)),
			Try: "choose a shorter name",
		}
	case !namePattern.MatchString(s):
		return "", &Refusal{
			Code: Invalid, Why: fmt.Sprintf("%.60q is no VM name: only a-z, 0-9 and inner dashes", s),
			Try: "choose a name such as web-1",
		}
	}
	return Name(s), nil
}

// NewID draws a uid.
func NewID() ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return ID(hex.EncodeToString(b[:]))
}
