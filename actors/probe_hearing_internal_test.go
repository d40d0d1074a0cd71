package actors

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestWhatAConsoleSaysIsFoundOnceAndAtABorder(t *testing.T) {
	many := strings.Repeat("beat ", 100)
	for _, tt := range []struct {
		re, old, news string
		want          bool
	}{
		{"up", "up\n", "more", false},
		{"up", "is u", "p\n", true},
		{"up", "up\n", "up again", true},
		{"beat done", many + "beat", " done", true},
		{"beat|end", many, "it ends", true},
		{"beat", many, "nothing", false},
		{"beat(.*done)?", many, "and then done", true},
		{"x*", "aaaa", "b", true},
		{"up", "up", "", false},
	} {
		if got := newly(regexp.MustCompile(tt.re), []byte(tt.old+tt.news), len(tt.old)); got != tt.want {
			t.Errorf("%q in %.20q + %q: %v", tt.re, tt.old, tt.news, got)
		}
	}
}

// A piece that is made for it must not cost a search for each of its matches.
func TestAPieceIsSearchedABoundedNumberOfTimes(t *testing.T) {
	text := bytes.Repeat([]byte("beat"), (consoleWindow+pieceSpoken)/4)
	for i := consoleWindow; i < len(text); i++ {
		text[i] = '.'
	}
	re := regexp.MustCompile(`beat(.*done)?`)
	least := func(work func()) time.Duration {
		took := time.Hour
		for range 3 {
			began := time.Now()
			work()
			took = min(took, time.Since(began))
		}
		return took
	}
	one := least(func() { re.FindIndex(text) })
	all := least(func() { newly(re, text, consoleWindow) })
	if all > 10*3*mostMatches*one { // without a bound a thousand
		t.Errorf("%s, where one search takes %s", all, one)
	}
}

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
