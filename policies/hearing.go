package policies

import (
	"bytes"
	"regexp"
)

// mostMatches bounds the searches from one point of a piece.
const mostMatches = 4

// Newly says whether a pattern matches something of the text that ends after the
// first old bytes of it; a nil pattern matches nothing. However the text is made,
// it is searched a bounded number of times: from its begin, then from that of the
// line that goes on, and last in what is new alone.
func Newly(re *regexp.Regexp, text []byte, old int) bool {
	if re == nil || old >= len(text) {
		return false
	}
	line := bytes.LastIndexByte(text[:old], '\n') + 1
	at := 0
	for _, from := range []int{0, line, old} {
		if from < at {
			continue
		}
		at = from
		for range mostMatches {
			found := re.FindIndex(text[min(at, len(text)):])
			switch {
			case found == nil:
				return false
			case at+found[1] > old:
				return true
			}
			at += max(found[1], 1)
		}
	}
	return false
}
