package main

import (
	"strings"
	"unicode/utf8"
)

// leastRoom is how many columns text needs to be read; with less, it is left to
// the terminal to break it.
const leastRoom = 24

// wrap breaks text at spaces into lines of at most room columns. A word that is
// longer stays whole: a path that was broken can't be copied.
func wrap(text string, room int) []string {
	if room < leastRoom || utf8.RuneCountInString(text) <= room {
		return []string{text}
	}
	var lines []string
	line, used := "", 0
	for word := range strings.SplitSeq(text, " ") {
		n := utf8.RuneCountInString(word)
		if used > 0 && used+1+n > room {
			lines = append(lines, line)
			line, used = "", 0
		}
		if line != "" || used > 0 {
			line += " "
			used++
		}
		line += word
		used += n
	}
	return append(lines, line)
}

// hang is text whose lines after the first begin under its indent-th column.
// width is the terminal's; 0: there is none, and nothing is broken.
func hang(text string, indent, width int) string {
	head, rest := cutRunes(text, indent)
	return head + strings.Join(wrap(rest, width-indent), "\n"+strings.Repeat(" ", indent))
}

func cutRunes(s string, n int) (head, rest string) {
	for i := range s {
		if n == 0 {
			return s[:i], s[i:]
		}
		n--
	}
	return s, ""
}
