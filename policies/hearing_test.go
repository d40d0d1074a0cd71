package policies

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
		if got := Newly(regexp.MustCompile(tt.re), []byte(tt.old+tt.news), len(tt.old)); got != tt.want {
			t.Errorf("%q in %.20q + %q: %v", tt.re, tt.old, tt.news, got)
		}
	}
}

// A piece that is made for it must not cost a search for each of its matches.
func TestAPieceIsSearchedABoundedNumberOfTimes(t *testing.T) {
	const window, piece = 4 << 10, 64 << 10 // as the console checks have them
	text := bytes.Repeat([]byte("beat"), (window+piece)/4)
	for i := window; i < len(text); i++ {
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
	all := least(func() { Newly(re, text, window) })
	if all > 10*3*mostMatches*one { // without a bound a thousand
		t.Errorf("%s, where one search takes %s", all, one)
	}
}
