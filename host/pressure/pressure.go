// Package pressure reads how long work stands still on this machine for want of
// processor, memory or disk: the kernel's PSI.
package pressure

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/blixard/blixard/host"
)

// Machine is a mounted /proc, or a folder that looks like one.
type Machine struct{ Proc string }

// Pressure reads "some avg10" of the three files. A kernel that was built or
// booted without PSI has none: host.Gone.
func (m Machine) Pressure() (host.Pressure, error) {
	var p host.Pressure
	for _, one := range []struct {
		name  string
		avg   *float64
		stood *time.Duration
	}{{"cpu", &p.CPU, new(time.Duration)}, {"memory", &p.Memory, &p.MemoryStood}, {"io", &p.IO, &p.IOStood}} {
		var err error
		if *one.avg, *one.stood, err = m.some(one.name); err != nil {
			return host.Pressure{}, host.Fail(host.Gone, "read the pressure of "+one.name, err)
		}
	}
	return p, nil
}

// Cores is what the scheduler may use of us, as the runtime sees it.
func (m Machine) Cores() int { return runtime.GOMAXPROCS(0) }

func (m Machine) some(name string) (float64, time.Duration, error) {
	f, err := os.Open(filepath.Join(m.Proc, "pressure", name))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return 0, 0, err
	}
	return parse(b)
}

// parse reads "some avg10=0.12 avg60=0.34 avg300=0.56 total=789".
func parse(b []byte) (avg float64, total time.Duration, err error) {
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 5 || string(fields[0]) != "some" {
			continue
		}
		text, ok := bytes.CutPrefix(fields[1], []byte("avg10="))
		sum, is := bytes.CutPrefix(fields[4], []byte("total="))
		if !ok || !is {
			break
		}
		avg, err := strconv.ParseFloat(string(text), 64)
		if err != nil || !(avg >= 0 && avg <= 100) {
			return 0, 0, fmt.Errorf("avg10 is %q", text)
		}
		micros, err := strconv.ParseInt(string(sum), 10, 64)
		if err != nil || micros < 0 || micros > math.MaxInt64/int64(time.Microsecond) {
			return 0, 0, fmt.Errorf("total is %q", sum)
		}
		return avg, time.Duration(micros) * time.Microsecond, nil
	}
	return 0, 0, fmt.Errorf("no line of \"some avg10\" in %.80q", b)
}
