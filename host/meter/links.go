package meter

import (
	"bytes"
	"path/filepath"

	"github.com/blixard/blixard/vm"
)

// traffic is what went through an interface, as the host sees it.
type traffic struct {
	received, sent uint64 // bytes
	packets        uint64 // both ways
}

// readLinks reads the counters of all taps at once: /proc/net/dev costs about
// as much as the four files that sysfs has for one of them.
func (m *Meter) readLinks(of []vm.Metered) {
	clear(m.links)
	for _, one := range of {
		for _, link := range one.Links {
			m.links[link] = traffic{}
		}
	}
	if len(m.links) == 0 {
		return
	}
	if b, err := m.whole(filepath.Join(m.conf.Proc, "net/dev")); err == nil {
		parseLinks(b, m.links)
	}
}

// parseLinks fills in those that are asked for. The name ends at the first
// colon, which the kernel lets no interface have in its name.
func parseLinks(b []byte, wanted map[string]traffic) {
	for one := []byte(nil); len(b) > 0; {
		one, b = line(b)
		at, counters, ok := bytes.Cut(one, []byte{':'})
		if !ok {
			continue
		}
		at = bytes.TrimSpace(at)
		if _, ok := wanted[string(at)]; !ok {
			continue
		}
		if t, ok := parseTraffic(counters); ok {
			wanted[string(at)] = t
		}
	}
}

// parseTraffic reads the sixteen columns: bytes and packets are the first two
// of eight that were received, and of eight that were sent.
func parseTraffic(b []byte) (traffic, bool) {
	var columns [10]uint64
	for i := range columns {
		var word []byte
		var ok bool
		word, b = cut(b)
		if columns[i], ok = number(word); !ok {
			return traffic{}, false
		}
	}
	return traffic{received: columns[0], sent: columns[8], packets: plus(columns[1], columns[9])}, true
}
