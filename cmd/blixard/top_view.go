package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/blixard/blixard/messages/blixardv1"
)

// topView is what a person sees and chose. It knows no terminal and no daemon:
// keys and looks go in, lines come out.
type topView struct {
	look     look
	interval time.Duration
	lost     string    // why the daemon doesn't answer; empty: it does
	lostAt   time.Time // since when

	order   string
	turned  bool // sorted the other way round
	filter  string
	typing  bool   // the filter is being typed
	before  string // the filter before
	help    bool
	paused  bool
	chosen  string // name of the VM that the cursor is at
	first   int    // row at the head of the list
	visible int    // rows that the last drawing had room for
}

// The orders, by the key's column.
const (
	byCPU     = "cpu"
	byMemory  = "memory"
	byDisk    = "disk"
	byNetwork = "network"
	byName    = "name"
)

var orderNames = []string{byCPU, byMemory, byDisk, byNetwork, byName}

// orders give the number that VMs are sorted by, the highest first.
var orders = map[string]func(*blixardv1.VM) float64{
	byCPU:     func(v *blixardv1.VM) float64 { return live(v, v.GetUsage().GetCpuPercent()) },
	byMemory:  func(v *blixardv1.VM) float64 { return live(v, float64(memoryOf(v))) },
	byDisk:    func(v *blixardv1.VM) float64 { return live(v, v.GetUsage().GetReadRate()+v.GetUsage().GetWriteRate()) },
	byNetwork: func(v *blixardv1.VM) float64 { return live(v, v.GetUsage().GetRxRate()+v.GetUsage().GetTxRate()) },
	byName:    func(*blixardv1.VM) float64 { return 0 }, // all alike: the name decides
}

// live puts what is not measured behind what measures zero.
func live(v *blixardv1.VM, n float64) float64 {
	if !measured(v) {
		return -1
	}
	return n
}

func (v *topView) take(l look) { v.look, v.lost, v.lostAt = l, "", time.Time{} }

func (v *topView) lose(why string, at time.Time) {
	if v.lost == "" {
		v.lostAt = at
	}
	v.lost = why
}

// rows are the VMs that the filter lets through, in their order.
func (v *topView) rows() []*blixardv1.VM {
	out := make([]*blixardv1.VM, 0, len(v.look.vms))
	for _, one := range v.look.vms {
		if strings.Contains(one.GetName(), v.filter) || strings.Contains(one.GetPhase(), v.filter) {
			out = append(out, one)
		}
	}
	by := orders[v.order]
	slices.SortStableFunc(out, func(a, b *blixardv1.VM) int {
		d := cmp.Or(cmp.Compare(by(b), by(a)), cmp.Compare(a.GetName(), b.GetName()))
		if v.turned {
			return -d
		}
		return d
	})
	return out
}

// phases is "4 VMs: 2 running, 1 failed".
func (v *topView) phases() string { return count(len(v.look.vms), "VM", "VMs") + counts(v.inPhases()) }

func (v *topView) inPhases() map[string]int32 {
	n := map[string]int32{}
	for _, one := range v.look.vms {
		n[one.GetPhase()]++
	}
	return n
}

// press takes one key; it says whether the person leaves.
func (v *topView) press(k key) (leaves bool) {
	switch {
	case k == keyInterrupt:
		return true
	case v.typing:
		v.typeFilter(k)
		return false
	case v.help:
		v.help = false
		return false
	}
	switch k {
	case "q":
		return true
	case "h", "?":
		v.help = true
	case "p", " ":
		v.paused = !v.paused
	case "/":
		v.typing, v.before = true, v.filter
	case keyEscape:
		v.filter = ""
	case "c":
		v.sortBy(byCPU)
	case "m":
		v.sortBy(byMemory)
	case "d":
		v.sortBy(byDisk)
	case "n":
		v.sortBy(byNetwork)
	case "N":
		v.sortBy(byName)
	default:
		v.move(k)
	}
	return false
}

func (v *topView) sortBy(order string) {
	v.turned = v.order == order && !v.turned
	v.order, v.first = order, 0
}

// longestFilter is that of a VM's name.
const longestFilter = 40

func (v *topView) typeFilter(k key) {
	switch k {
	case keyEnter:
		v.typing = false
	case keyEscape:
		v.typing, v.filter = false, v.before
	case keyBackspace:
		if v.filter == "" {
			v.typing = false
			return
		}
		_, n := utf8.DecodeLastRuneInString(v.filter)
		v.filter = v.filter[:len(v.filter)-n]
	default:
		r, n := utf8.DecodeRuneInString(string(k))
		if n == len(k) && r != utf8.RuneError && unicode.IsPrint(r) && utf8.RuneCountInString(v.filter) < longestFilter {
			v.filter += string(k)
		}
	}
}

// move takes the cursor to another VM. It stays at a VM, not at a row.
func (v *topView) move(k key) {
	rows := v.rows()
	if len(rows) == 0 {
		return
	}
	at, page := v.cursor(rows), max(1, v.visible-1)
	if v.chosen == "" && (k == keyDown || k == "j") {
		at = v.first - 1 // the first press chooses what stands first
	}
	switch k {
	case keyDown, "j":
		at++
	case keyUp, "k":
		at--
	case keyPageDown:
		at += page
	case keyPageUp:
		at -= page
	case keyHome, "g":
		at = 0
	case keyEnd, "G":
		at = len(rows) - 1
	default:
		return
	}
	v.chosen = rows[min(max(at, 0), len(rows)-1)].GetName()
}

// cursor is the row of the chosen VM; where it is gone, the first.
func (v *topView) cursor(rows []*blixardv1.VM) int {
	return max(0, slices.IndexFunc(rows, func(one *blixardv1.VM) bool { return one.GetName() == v.chosen }))
}

// scroll keeps the cursor in sight, with room for so many rows.
func (v *topView) scroll(rows []*blixardv1.VM, room int) {
	v.visible = room
	at := v.cursor(rows)
	if v.chosen == "" {
		at = v.first
	}
	v.first = max(0, min(max(v.first, at-room+1), at, len(rows)-1))
	v.first = max(0, min(v.first, len(rows)-room))
}

// gauge is one of the node's levels.
type gauge struct {
	name  string
	share float64 // 0..1 in use
	words string
}

// gauges are processors and memory in use, and the disk as it is promised: what
// is used of a disk is used by others too, and counts in no capacity.
func gauges(r *blixardv1.NodeResourcesResponse) []gauge {
	has, used, reserved, room := r.GetMachine(), r.GetUsed(), r.GetReserved(), r.GetRoom()
	one := func(name string, used, has float64, show func(float64) string, reserved, room float64) gauge {
		g := gauge{name: name, words: "use is not known"}
		if r.GetAt() != nil && has > 0 {
			g.share = used / has
			g.words = fmt.Sprintf("%3.0f%% used: %s of %s", 100*g.share, show(used), show(has))
		}
		g.words += fmt.Sprintf("; reserved %s of %s", show(reserved), show(room))
		return g
	}
	bytes := func(v float64) string { return size(int64(v)) }
	disk := gauge{name: "Disk", words: fmt.Sprintf("reserved %s of %s", size(reserved.GetDiskBytes()), size(room.GetDiskBytes()))}
	if room.GetDiskBytes() > 0 {
		disk.share = float64(reserved.GetDiskBytes()) / float64(room.GetDiskBytes())
		disk.words = fmt.Sprintf("%3.0f%% %s", 100*disk.share, strings.Replace(disk.words, " ", ": ", 1))
	}
	if r.GetAt() != nil {
		disk.words += fmt.Sprintf("; used by all %s", size(used.GetDiskBytes()))
	}
	return []gauge{
		one("CPU", used.GetCpus(), has.GetCpus(), decimal, reserved.GetCpus(), room.GetCpus()),
		one("Memory", float64(used.GetMemoryBytes()), float64(has.GetMemoryBytes()), bytes, float64(reserved.GetMemoryBytes()), float64(room.GetMemoryBytes())),
		disk,
	}
}

func pressureWords(r *blixardv1.NodeResourcesResponse) string {
	p := r.GetPressure()
	if p == nil || r.GetAt() == nil {
		return "not known"
	}
	return fmt.Sprintf("cpu %s, memory %s, io %s of the last ten seconds", percent(p.GetCpu()), percent(p.GetMemory()), percent(p.GetIo()))
}
