package main

import (
	"slices"
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
	long  []string // heads of the columns that go first where there is no room for all
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = cell(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// cell is text that stays in its line and moves no cursor (P15).
func cell(s string) string {
	return or(vm.OneLine(s, 0), "-")
}

const gap = 3

// write lays the table out; paint may add colour to a cell, it gets the
// column's head and the text. Columns that a terminal of that width has no room
// for follow under their row, each after its head.
func (t *table) write(width int, paint func(head, text string) string) []byte {
	widths := make([]int, len(t.heads))
	for i, h := range t.heads {
		widths[i] = len(h)
	}
	for _, r := range t.rows {
		for i, s := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
	}
	beside, under := t.fitting(widths, width)
	var out strings.Builder
	line := func(cells []string, paint func(head, text string) string) {
		for nth, i := range beside {
			out.WriteString(paint(t.heads[i], cells[i]))
			if nth < len(beside)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cells[i])+gap))
			}
		}
		out.WriteByte('\n')
	}
	if !t.bare {
		line(t.heads, func(_, text string) string { return text })
	}
	for _, r := range t.rows {
		line(r, paint)
		t.writeUnder(&out, r, under, width)
	}
	return []byte(out.String())
}

// fitting says which columns stand beside each other, and which under their row.
func (t *table) fitting(widths []int, width int) (beside, under []int) {
	whole := -gap
	for _, w := range widths {
		whole += w + gap
	}
	used, full := 0, false
	for i, w := range widths {
		long := width > 0 && whole > width && slices.Contains(t.long, t.heads[i])
		full = full || width > 0 && i > 0 && !long && used+w > width
		if long || full {
			under = append(under, i)
			continue
		}
		beside = append(beside, i)
		used += w + gap
	}
	return beside, under
}

const indent = "    "

// writeUnder writes the cells that have no room in the row. What is empty is left out.
func (t *table) writeUnder(out *strings.Builder, cells []string, under []int, width int) {
	line := ""
	for _, i := range under {
		if cells[i] == "-" {
			continue
		}
		one := t.heads[i] + " " + cells[i]
		if line != "" && utf8.RuneCountInString(indent+line)+gap+utf8.RuneCountInString(one) > width {
			out.WriteString(hang(indent+line, len(indent), width) + "\n")
			line = ""
		}
		if line != "" {
			line += strings.Repeat(" ", gap)
		}
		line += one
	}
	if line != "" {
		out.WriteString(hang(indent+line, len(indent), width) + "\n")
	}
}

// printTable writes the table, with colour where a person looks.
func (c *cli) printTable(t *table) error {
	return c.print(t.write(c.width, func(_, text string) string { return c.paint(text) }))
}

// Colours of what should catch the eye, and of what is well.
const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

var colours = map[string]string{
	"running": green, "healthy": green, "ok": green, "done": green,
	"failed": red, "unhealthy": red, "fail": red,
	"backoff": yellow, "degraded": yellow, "warn": yellow, "starting": yellow, "preparing": yellow,
	"killing": yellow, "stopping": yellow, "reaping": yellow, "adopting": yellow, "removing": yellow,
	"person": yellow, "paused": yellow, "suspending": yellow,
}

func (c *cli) paint(word string) string {
	colour, ok := colours[word]
	if !ok || !c.color {
		return word
	}
	return colour + word + plain
}

// alarm paints what nobody may overlook.
func (c *cli) alarm(text string) string {
	if !c.color {
		return text
	}
	return red + text + plain
}
