package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// column is one of the view's; text is cleaned of control bytes by who writes it.
type column struct {
	head  string
	width int    // 0: takes what the others leave
	order string // what sorts by it
	text  func(*cli, *blixardv1.VM) string
}

var (
	nameColumn   = column{"NAME", 0, byName, func(_ *cli, v *blixardv1.VM) string { return v.GetName() }}
	phaseColumn  = column{"PHASE", -10, "", func(_ *cli, v *blixardv1.VM) string { return v.GetPhase() }}
	healthColumn = column{"HEALTH", -9, "", func(_ *cli, v *blixardv1.VM) string { return v.GetHealth() }}
	cpuColumn    = column{"CPU%", 6, byCPU, func(_ *cli, v *blixardv1.VM) string {
		if v.GetUsage() == nil || v.Usage.CpuPercent == nil {
			return ""
		}
		return ofLive(v, fmt.Sprintf("%.1f", v.GetUsage().GetCpuPercent()))
	}}
	memoryColumn = column{"MEMORY", 11, byMemory, func(_ *cli, v *blixardv1.VM) string {
		return or(ofLive(v, tight(memoryOf(v))), "-") + "/" + tight(v.GetReservation().GetMemoryBytes())
	}}
	diskColumn = column{"DISK", 11, "", func(_ *cli, v *blixardv1.VM) string {
		used, most := diskOf(v)
		if used < 0 {
			return "-/" + tight(most)
		}
		return tight(used) + "/" + tight(most)
	}}
	ioColumn = column{"IO/s", 6, byDisk, func(_ *cli, v *blixardv1.VM) string {
		return ofLive(v, tight(int64(v.GetUsage().GetReadRate()+v.GetUsage().GetWriteRate())))
	}}
	netColumn = column{"NET/s", 6, byNetwork, func(_ *cli, v *blixardv1.VM) string {
		return ofLive(v, tight(int64(v.GetUsage().GetRxRate()+v.GetUsage().GetTxRate())))
	}}
	readColumn  = column{"READ/s", 7, byDisk, func(_ *cli, v *blixardv1.VM) string { return ofLive(v, tight(int64(v.GetUsage().GetReadRate()))) }}
	writeColumn = column{"WRITE/s", 8, byDisk, func(_ *cli, v *blixardv1.VM) string { return ofLive(v, tight(int64(v.GetUsage().GetWriteRate()))) }}
	rxColumn    = column{"RX/s", 6, byNetwork, func(_ *cli, v *blixardv1.VM) string { return ofLive(v, tight(int64(v.GetUsage().GetRxRate()))) }}
	txColumn    = column{"TX/s", 6, byNetwork, func(_ *cli, v *blixardv1.VM) string { return ofLive(v, tight(int64(v.GetUsage().GetTxRate()))) }}
	idleColumn  = column{"IDLE", 6, "", func(c *cli, v *blixardv1.VM) string { return ofLive(v, c.since(v.GetUsage().GetIdleSince())) }}

	wideColumns = []column{
		nameColumn, phaseColumn, healthColumn, cpuColumn, memoryColumn, diskColumn, readColumn, writeColumn, rxColumn, txColumn, idleColumn,
	}
	// narrowColumns are for 80 columns; with less room go those of givenUp, one by one.
	narrowColumns = []column{nameColumn, phaseColumn, healthColumn, cpuColumn, memoryColumn, ioColumn, netColumn, idleColumn}
	givenUp       = []string{"IDLE", "HEALTH", "NET/s", "IO/s", "PHASE"}
)

func ofLive(v *blixardv1.VM, text string) string {
	if !measured(v) {
		return ""
	}
	return text
}

// tight is a size in at most five columns: 61.3M.
func tight(n int64) string {
	for i, unit := range []string{"T", "G", "M", "K"} {
		if one := int64(1) << (40 - 10*i); n >= one {
			v := float64(n) / float64(one)
			if v >= 100 {
				return fmt.Sprintf("%.0f%s", v, unit)
			}
			return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + unit
		}
	}
	return fmt.Sprint(n)
}

// A name needs room to be told from others, and below leastWidth or leastHeight
// nothing can be read.
const (
	leastName   = 12
	leastWidth  = 32
	leastHeight = 6
	wideEnough  = 112
	calmHeight  = 16 // with less, the head is one line
)

// columns are those that a width has room for, with the name's.
func columns(width int) (out []column, name int) {
	out = narrowColumns
	if width >= wideEnough {
		out = wideColumns
	}
	for nth := 0; ; nth++ {
		name = width - 1
		for _, col := range out[1:] {
			name -= max(col.width, -col.width) + 1
		}
		if name >= leastName || nth == len(givenUp) {
			return out, max(1, name)
		}
		out = slices.DeleteFunc(slices.Clone(out), func(col column) bool { return col.head == givenUp[nth] })
	}
}

// draw is the whole screen: height lines of at most width columns.
func (c *cli) draw(v *topView, width, height int) []string {
	if width < leastWidth || height < leastHeight {
		return []string{cut("the terminal is too small", width)}
	}
	if v.help {
		return c.drawHelp(width, height)
	}
	lines := c.drawHead(v, width, height)
	cols, name := columns(width)
	lines = append(lines, c.drawHeads(v, cols, name))
	rows := v.rows()
	foot := c.drawFoot(v, rows, width)
	room := height - len(lines) - len(foot)
	v.scroll(rows, room)
	for i := range room {
		switch at := v.first + i; {
		case at < len(rows):
			lines = append(lines, c.drawRow(v, rows[at], cols, name))
		case i == 0 && v.filter != "":
			lines = append(lines, cut(fmt.Sprintf(" no VM has %q in its name or phase: Esc shows all", v.filter), width))
		case i == 0:
			lines = append(lines, cut(" there are no VMs yet: blixard vm create web --start", width))
		default:
			lines = append(lines, "")
		}
	}
	return append(lines, foot...)
}

func (c *cli) drawHead(v *topView, width, height int) []string {
	state := "every " + age(v.interval)
	if v.paused {
		state = "PAUSED, p goes on"
	}
	title := fmt.Sprintf("blixard top  %s  %s", v.look.at.Local().Format("15:04:05"), v.phases())
	lines := []string{sides(title, state, width)}
	if v.lost != "" {
		lines = append(lines, c.alarm(cut(fmt.Sprintf("! for %s: %s", or(age(c.now().Sub(v.lostAt).Truncate(1e9)), "0s"), cell(v.lost)), width)))
	}
	if height < calmHeight {
		return append(lines, c.drawAlerts(v, width, 1)...)
	}
	const bar = 12 // leaves room for the numbers in 80 columns
	for _, g := range gauges(v.look.node) {
		lines = append(lines, c.gaugeLine(g, bar, width))
	}
	lines = append(lines, cut("Pressure "+pressureWords(v.look.node), width))
	return append(lines, c.drawAlerts(v, width, height/8)...)
}

// drawAlerts has at most so many lines, and says how many it leaves out.
func (c *cli) drawAlerts(v *topView, width, most int) []string {
	var all, out []string
	for _, why := range v.look.node.GetOver() {
		all = append(all, "no room: "+why)
	}
	for _, a := range furtherAlerts(v.look.node) {
		all = append(all, c.alertLine(a))
	}
	for i, one := range all {
		if i == most-1 && i > 0 && len(all) > most {
			one = fmt.Sprintf("and %d more: blixard node status", len(all)-i)
		}
		if i == most {
			break
		}
		out = append(out, c.alarm(cut("! "+cell(one), width)))
	}
	return out
}

func (c *cli) gaugeLine(g gauge, bar, width int) string {
	full := min(bar, int(g.share*float64(bar)+0.5))
	filled := strings.Repeat("|", max(0, full))
	colour := green
	switch {
	case g.share >= 0.9:
		colour = red
	case g.share >= 0.7:
		colour = yellow
	}
	text := cut(fmt.Sprintf("%-8s [%-*s] %s", g.name, bar, filled, g.words), width)
	if c.color && filled != "" {
		return strings.Replace(text, filled, colour+filled+plain, 1)
	}
	return text
}

func (c *cli) drawHeads(v *topView, cols []column, name int) string {
	mark := "↓"
	if v.turned != (v.order == byName) {
		mark = "↑"
	}
	var out strings.Builder
	out.WriteByte(' ')
	for i, col := range cols {
		head := col.head
		if col.order == v.order && !strings.Contains(out.String(), mark) {
			head += mark
		}
		out.WriteString(pad(head, widthOf(col, name), i == len(cols)-1))
	}
	if c.color {
		return strong + out.String() + plain
	}
	return out.String()
}

func (c *cli) drawRow(v *topView, one *blixardv1.VM, cols []column, name int) string {
	chosen := one.GetName() == v.chosen
	var out strings.Builder
	mark := " "
	if chosen {
		mark = ">"
	}
	out.WriteString(mark)
	for i, col := range cols {
		text := cell(col.text(c, one))
		padded := pad(text, widthOf(col, name), i == len(cols)-1)
		if c.color && !chosen && colours[text] != "" {
			padded = strings.Replace(padded, text, c.paint(text), 1)
		}
		out.WriteString(padded)
	}
	if chosen && c.color {
		return inverse + out.String() + plain
	}
	return out.String()
}

func (c *cli) drawFoot(v *topView, rows []*blixardv1.VM, width int) []string {
	detail := ""
	for _, one := range rows {
		if one.GetName() == v.chosen {
			detail = cell(fmt.Sprintf("%s: %s for %s: %s", one.GetName(), one.GetPhase(), or(c.since(one.GetPhaseSince()), "0s"), or(one.GetReason(), "no reason was given")))
		}
	}
	keys := "q quit  c CPU  m memory  d disk  n network  N name  / filter  p pause  h help"
	if width < utf8.RuneCountInString(keys) {
		keys = "q quit  h help"
	}
	switch {
	case v.typing:
		keys = "filter: " + v.filter + "_   Enter keeps it, Esc leaves it as it was"
	case v.filter != "":
		keys = fmt.Sprintf("filter: %s   Esc shows all  / changes it  q quit  h help", v.filter)
	}
	return []string{cut(detail, width), cut(string(vm.Visible([]byte(keys))), width)}
}

func (c *cli) drawHelp(width, height int) []string {
	lines := []string{
		"blixard top", "",
		"  c m d n N   sort by CPU, memory, disk, network, name; again: the other way",
		"  up, down    choose a VM (j, k, PgUp, PgDn, g and G too)",
		"  /           only VMs whose name or phase has what you type; Esc: all",
		"  p, space    pause, go on",
		"  q, Ctrl-C   leave", "",
		"  CPU%        of one processor, by the whole VMM",
		"  MEMORY      what counts against its reservation, of that",
		"  DISK        allocated of what it may grow to",
		"  IO, NET     bytes a second, both ways; user-mode networks count nowhere",
		"  IDLE        for so long, by the measure in its spec",
		"  !           what a person should look at: blixard node status", "",
		"any key goes back",
	}
	for i := range lines {
		lines[i] = cut(lines[i], width)
	}
	return lines[:min(height, len(lines))]
}

// widthOf is the column's, negative where its text begins at its left.
func widthOf(col column, name int) int {
	if col.width == 0 {
		return -name
	}
	return col.width
}

// pad brings text to a width, at the right where it is positive, with a gap behind.
func pad(text string, width int, last bool) string {
	n := max(width, -width)
	text = cut(text, n)
	fill := strings.Repeat(" ", n-utf8.RuneCountInString(text))
	switch {
	case width > 0 && last:
		return fill + text
	case last:
		return text + fill
	case width > 0:
		return fill + text + " "
	}
	return text + fill + " "
}

// sides has one text at the left, as far as there is room, and one at the right.
func sides(left, right string, width int) string {
	room := width - utf8.RuneCountInString(right) - 2
	left = cut(left, max(0, room))
	return cut(left+strings.Repeat(" ", max(2, room+2-utf8.RuneCountInString(left)))+right, width)
}

// cut is text of at most n columns.
func cut(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	head, _ := cutRunes(text, max(0, n-1))
	return head + "…"
}

// Attributes besides the colours.
const (
	strong  = "\x1b[1m"
	inverse = "\x1b[7m"
)
