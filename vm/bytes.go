package vm

import (
	"strconv"
	"strings"
)

// String is the size in the largest unit that needs no fraction, as a spec writes it: "128MiB".
func (b Bytes) String() string {
	units := []struct {
		size Bytes
		name string
	}{{GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}}
	for _, u := range units {
		if b != 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// Rounded is the size for the eye, to a tenth of its largest unit: "1.5GiB".
func (b Bytes) Rounded() string {
	if b < 0 {
		return "-" + (-b).Rounded()
	}
	for _, u := range []struct {
		size Bytes
		name string
	}{{1024 * GiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if b >= u.size {
			return strings.TrimSuffix(strconv.FormatFloat(float64(b)/float64(u.size), 'f', 1, 64), ".0") + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
