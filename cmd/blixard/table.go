package main

import (
	"strings"
	"unicode/utf8"

	"github.com/blixard/blixard/vm"
)

// table is aligned text: upper-case heads, no borders. text/tabwriter would
// count the bytes of a colour as width.
type table struct {
	heads []string
	bare  bool // without the line of the heads
	rows  [][]string
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// cell is text that stays in its line and moves no cursor (P15).
func cell(s string) string {
	s = string(vm.Visible([]byte(s)))
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return "-"
	}
	return s
}

const gap = 3

// write lays the table out; paint may add colour to a cell, it gets the
// column's head and the text.
func (t *table) write(paint func(head, text string) string) []byte {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = len(h)
	}
	for _, r := range t.rows {
		for i, s := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	var out strings.Builder
	line := func(cells []string, paint func(head, text string) string) {
		for i, s := range cells {
			out.WriteString(paint(t.heads[i], s))
			if i < len(cells)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s)+gap))
			}
		}
		out.WriteByte('\n')
	}
	if !t.bare {
		line(t.heads, func(_, text string) string { return text })
	}
	for _, r := range t.rows {
		line(r, paint)
	}
	return []byte(out.String())
}

// printTable writes the table, with colour where a person looks.
func (c *cli) printTable(t *table) error {
	return c.print(t.write(func(_, text string) string { return c.paint(text) }))
}

// Colours of what should catch the eye, and of what is well.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

var colours = map[string]string{
	"running": green, "healthy": green, "ok": green,
	"failed": red, "unhealthy": red, "fail": red,
	"backoff": yellow, "degraded": yellow, "warn": yellow, "starting": yellow, "preparing": yellow,
	"killing": yellow, "stopping": yellow, "reaping": yellow, "adopting": yellow, "removing": yellow,
}

func (c *cli) paint(word string) string {
	colour, ok := colours[word]
	if !ok || !c.color {
		return word
	}
	return colour + word + plain
}
