package actors

import (
	"bytes"
	"testing"
)

func TestAFloodIsBoundedAndItsEndIsHeard(t *testing.T) {
	var s spoken
	chunk := bytes.Repeat([]byte("a line of a flood\n"), 64<<10/18)
	told := 0
	for range 50 << 20 / len(chunk) {
		if s.add(chunk, 0) {
			told++
		}
	}
	s.add([]byte("Kernel panic"), 7)
	if told != 1 || len(s.text) != mostSpoken || cap(s.text) > 4*mostSpoken {
		t.Errorf("told %d times, holds %d of %d", told, len(s.text), cap(s.text))
	}
	var heard []byte
	var lost int64
	for more := true; more; {
		var text []byte
		var l int64
		text, l, more = s.take(pieceSpoken)
		heard, lost = append(heard, text...), lost+l
	}
	if sum := int64(50<<20/len(chunk)*len(chunk)) + 12 + 7; int64(len(heard))+lost != sum || !bytes.HasSuffix(heard, []byte("Kernel panic")) {
		t.Errorf("heard %d, lost %d of %d", len(heard), lost, sum)
	}
	if !s.add([]byte("more"), 0) {
		t.Error("nobody is told of what comes after")
	}
}
