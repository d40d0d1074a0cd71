package vm

import (
	"strings"
	"unicode/utf8"
)

const cutMark = "…"

// OneLine is text of anybody as one line that no terminal interprets (P15):
// what Visible makes of it, with one space where there is white space. It has
// at most that many bytes, and ends in … where something is left out; 0: all of
// it is there.
func OneLine(s string, most int) string {
	read := s
	if most > 0 {
		read = s[:min(len(s), most+utf8.UTFMax)] // what comes after it has no room
	}
	line := strings.Join(strings.Fields(string(Visible([]byte(read)))), " ")
	if len(read) == len(s) {
		return Cut(line, most)
	}
	return head(line, most-len(cutMark)) + cutMark
}

// Cut is text of at most that many bytes, which ends in … where something is
// left out, and never within a rune; 0: all of it.
func Cut(s string, most int) string {
	if most <= 0 || len(s) <= most {
		return s
	}
	return head(s, most-len(cutMark)) + cutMark
}

// head is the beginning of text, at most n bytes of it.
func head(s string, n int) string {
	n = min(max(n, 0), len(s))
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
