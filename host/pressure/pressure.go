// Package pressure reads how long work stands still on this machine for want of
// processor, memory or disk: the kernel's PSI.
package pressure

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/blixard/blixard/host"
)

// Machine is a mounted /proc, or a folder that looks like one.
type Machine struct{ Proc string }

// Pressure reads "some avg10" of the three files. A kernel that was built or
// booted without PSI has none: host.Gone.
func (m Machine) Pressure() (host.Pressure, error) {
	var p host.Pressure
	for name, to := range map[string]*float64{"cpu": &p.CPU, "memory": &p.Memory, "io": &p.IO} {
		v, err := m.some(name)
		if err != nil {
			return host.Pressure{}, host.Fail(host.Gone, "read the pressure of "+name, err)
		}
		*to = v
	}
	return p, nil
}

// Cores is what the scheduler may use of us, as the runtime sees it.
func (m Machine) Cores() int { return runtime.GOMAXPROCS(0) }

func (m Machine) some(name string) (float64, error) {
	f, err := os.Open(filepath.Join(m.Proc, "pressure", name))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return 0, err
	}
	return parse(b)
}

// parse reads "some avg10=0.12 avg60=0.34 avg300=0.56 total=789".
func parse(b []byte) (float64, error) {
	for line := range bytes.Lines(b) {
		fields := bytes.Fields(line)
		if len(fields) < 2 || string(fields[0]) != "some" {
			continue
		}
		text, ok := bytes.CutPrefix(fields[1], []byte("avg10="))
		if !ok {
			break
		}
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil || !(v >= 0 && v <= 100) {
			return 0, fmt.Errorf("avg10 is %q", text)
		}
		return v, nil
	}
	return 0, fmt.Errorf("no line of \"some avg10\" in %.80q", b)
}
