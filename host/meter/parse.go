package meter

import (
	"bytes"
	"math"
	"time"

	"github.com/blixard/blixard/vm"
)

// tick is the unit of processor time in /proc: USER_HZ is 100 on every
// architecture that we build for.
const tick = 10 * time.Millisecond

// cut takes the next word off a line.
func cut(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && blank(b[i]) {
		i++
	}
	j := i
	for j < len(b) && !blank(b[j]) {
		j++
	}
	return b[i:j], b[j:]
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// line takes the next line off a text.
func line(b []byte) (one, rest []byte) {
	one, rest, _ = bytes.Cut(b, []byte{'\n'})
	return one, rest
}

// number reads decimal digits and nothing else.
func number(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (math.MaxUint64-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// amount is a number of units of so many bytes, as far as it can be held.
func amount(n uint64, unit vm.Bytes) vm.Bytes {
	if n > math.MaxInt64/uint64(unit) {
		return math.MaxInt64
	}
	return vm.Bytes(n) * unit
}

// ticks is processor time, as far as it can be held.
func ticks(n uint64) time.Duration {
	return time.Duration(min(n, uint64(math.MaxInt64/tick))) * tick
}

// plus adds, as far as it can be held.
func plus(a, b uint64) uint64 {
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// stat is what we need of /proc/PID/stat.
type stat struct {
	state byte
	used  time.Duration
	start uint64
	name  []byte // in the file's text

	threads int
}

func (s stat) ended() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// parseStat reads the line of a process or thread. Its name is its own choice,
// ") R 1 (" for instance, so the last parenthesis ends it.
func parseStat(b []byte) (stat, bool) {
	begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if begin < 1 || end < begin {
		return stat{}, false
	}
	const utime, stime, threads, start = 14, 15, 20, 22 // fields as proc(5) counts them; after the name comes the third
	s := stat{name: b[begin+1 : end]}
	var word []byte
	rest := b[end+1:]
	var user, system uint64
	for field := 3; field <= start; field++ {
		word, rest = cut(rest)
		ok := len(word) > 0
		switch field {
		case 3:
			ok = len(word) == 1
			if ok {
				s.state = word[0]
			}
		case utime:
			user, ok = number(word)
		case stime:
			system, ok = number(word)
		case threads:
			var n uint64
			n, ok = number(word)
			s.threads = int(min(n, math.MaxInt32))
		case start:
			s.start, ok = number(word)
		}
		if !ok {
			return stat{}, false
		}
	}
	s.used = ticks(plus(user, system))
	return s, true
}

// nanoseconds is a time, as far as it can be held.
func nanoseconds(n uint64) time.Duration { return time.Duration(min(n, uint64(math.MaxInt64))) }

// parseSchedstat reads how long a thread was on a processor, and how long it
// could have been but had to wait for one.
func parseSchedstat(b []byte) (ran, waited time.Duration, ok bool) {
	word, rest := cut(b)
	on, is := number(word)
	word, _ = cut(rest)
	off, too := number(word)
	return nanoseconds(on), nanoseconds(off), is && too
}

// labelled reads the number behind a label at the beginning of a line.
func labelled(b []byte, label string) (uint64, bool) {
	if len(b) < len(label) || string(b[:len(label)]) != label {
		return 0, false
	}
	word, _ := cut(b[len(label):])
	return number(word)
}

// parseStatus reads the resident size and the highest that it ever was from
// /proc/PID/status. A process that ends has none any more.
func parseStatus(b []byte) (resident, peak vm.Bytes) {
	// The name in the first line is the process's own choice; the kernel escapes
	// its line ends, so that it makes no line of its own.
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		if n, ok := labelled(one, "VmHWM:"); ok {
			peak = amount(n, vm.KiB)
		} else if n, ok := labelled(one, "VmRSS:"); ok {
			return amount(n, vm.KiB), peak
		}
	}
	return 0, peak
}

// parseCharged reads what of a process counts against a limit and can't be
// dropped: its own pages, those that it shares by memory, and its page tables.
func parseCharged(b []byte) (sum vm.Bytes) {
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		for _, label := range []string{"RssAnon:", "RssShmem:", "VmPTE:"} {
			if n, ok := labelled(one, label); ok {
				sum = min(sum+min(amount(n, vm.KiB), maxCharged), maxCharged)
			}
		}
	}
	return sum
}

// maxCharged keeps the sum of what a process says from passing what a size can hold.
const maxCharged = 1 << 60

// parseIO reads what went from and to storage from /proc/PID/io.
func parseIO(b []byte) (read, written vm.Bytes) {
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		if n, ok := labelled(one, "read_bytes:"); ok {
			read = amount(n, 1)
		} else if n, ok := labelled(one, "write_bytes:"); ok {
			written = amount(n, 1)
		}
	}
	return read, written
}

// parseWaited reads the total of the line "some" of a pressure file.
func parseWaited(b []byte) time.Duration {
	one, _ := line(b)
	word, rest := cut(one)
	if string(word) != "some" {
		return 0
	}
	for {
		word, rest = cut(rest)
		if len(word) == 0 {
			return 0
		}
		if n, ok := labelled(word, "total="); ok {
			return time.Duration(min(n, uint64(math.MaxInt64/time.Microsecond))) * time.Microsecond
		}
	}
}

// parseLimit reads a limit of memory: "max" and the kernel's largest page count
// of cgroup v1 are none.
func parseLimit(b []byte) vm.Bytes {
	word, _ := cut(b)
	n, ok := number(word)
	if !ok || n > math.MaxInt64/2 {
		return 0
	}
	return vm.Bytes(n)
}

// parseBusy reads the first line of /proc/stat: what all processors did, but
// for idling, waiting for a disk, and what was stolen from them.
func parseBusy(b []byte) time.Duration {
	one, _ := line(b)
	word, rest := cut(one)
	if string(word) != "cpu" {
		return 0
	}
	var busy uint64
	for column := range 7 { // user nice system idle iowait irq softirq; a guest's time is in user and nice already
		word, rest = cut(rest)
		n, ok := number(word)
		if !ok {
			return 0
		}
		if column != 3 && column != 4 {
			busy = plus(busy, n)
		}
	}
	return ticks(busy)
}

// parseCPUs counts the lines of single processors: "cpu0 1 2 3".
func parseCPUs(b []byte) (n float64) {
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		if len(one) > 3 && string(one[:3]) == "cpu" && one[3] >= '0' && one[3] <= '9' {
			n++
		}
	}
	return n
}

// parseMeminfo reads the memory that isn't available to new work, and what there
// is in all: without huge pages, as no guest of ours is in them.
func parseMeminfo(b []byte) (used, of vm.Bytes) {
	var total, available, huge uint64
	var has [2]bool
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		if n, ok := labelled(one, "MemTotal:"); ok {
			total, has[0] = n, true
		} else if n, ok := labelled(one, "MemAvailable:"); ok {
			available, has[1] = n, true
		} else if n, ok := labelled(one, "Hugetlb:"); ok {
			huge = n
		}
	}
	total -= min(huge, total)
	if has != [2]bool{true, true} || available > total {
		return 0, 0
	}
	return amount(total-available, vm.KiB), amount(total, vm.KiB)
}
