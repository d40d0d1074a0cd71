package persistence

import (
	"encoding/binary"
	"fmt"

	"github.com/blixard/blixard/vm"
)

// family is the prefix of a family of keys; none is a prefix of another.
type family string

// The families; the package's doc has the table.
const (
	configs   family = "config/"
	crashes   family = "crash/"
	events    family = "event/"
	metas     family = "meta/"
	resources family = "resource/"
	states    family = "state/"
)

const (
	identityKey = "identity"
	schemaKey   = "schema"
)

func (f family) key(suffix string) []byte { return []byte(string(f) + suffix) }

// bounds are the first key of the family and the first one after it.
func (f family) bounds() (from, to []byte) { return prefixBounds(string(f)) }

func prefixBounds(prefix string) (from, to []byte) {
	to = []byte(prefix)
	to[len(to)-1]++ // every prefix ends in '/', so there is room above
	return []byte(prefix), to
}

func eventKey(sequence uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(events), sequence)
}

func crashPrefix(id vm.ID) string { return string(crashes) + string(id) + "/" }

func crashKey(id vm.ID, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte(crashPrefix(id)), number)
}

// numberOf is the number at the end of an event's or a crash's key.
func numberOf(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key[len(key)-8:])
}

// checkID keeps an ID from leaving its family: it becomes a part of keys.
func checkID(id vm.ID) error {
	if len(id) != 16 {
		return fmt.Errorf("%.40q is no vm id", string(id))
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%.40q is no vm id", string(id))
		}
	}
	return nil
}
