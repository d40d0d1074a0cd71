package systemd

import (
	"context"
	"math"
	"time"

	sd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/blixard/blixard/vm"
)

// unit is what systemd knows of one service now.
type unit struct {
	name    string
	loaded  bool   // false: systemd knows nothing of it, whatever the rest says
	active  string // active, activating, deactivating, inactive, failed
	sub     string // running, exited, …
	job     bool   // it is about to be started or stopped
	env     []string
	pid     int // of the main process; 0: none lives
	mainPID int // of the last main process
	result  string
	code    int // CLD_EXITED, CLD_KILLED, CLD_DUMPED; 0: it has not ended
	status  int // exit code or signal
	ended   time.Time

	// startTime is about that of /proc/PID/stat: enough to tell two dead processes apart.
	startTime uint64

	cpu  time.Duration
	peak vm.Bytes
}

// userHZ is the kernel's clock tick as programs see it, on every architecture of ours.
const userHZ = 100

// Values of siginfo_t.si_code for SIGCHLD.
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// dead says that no process of it lives or is about to.
func (u unit) dead() bool {
	if u.job {
		return false
	}
	return !u.loaded || u.active == "inactive" || u.active == "failed" || u.active == "active" && u.sub == "exited"
}

// exit is its verdict. Result alone proves nothing: a unit that never ran has "success".
func (u unit) exit() (vm.Exit, bool) {
	if !u.loaded || u.code == 0 {
		return vm.Exit{}, false
	}
	e := vm.Exit{Known: true, At: u.ended, Result: u.result, MemoryPeak: u.peak, CPU: u.cpu}
	switch u.code {
	case cldExited:
		e.Code = u.status
	case cldKilled, cldDumped:
		e.Signal, e.Core = u.status, u.code == cldDumped
	default:
		return vm.Exit{}, false
	}
	return e, true
}

// look asks for one unit. One that isn't there is answered with defaults, among
// them Result=success: only LoadState tells.
func look(ctx context.Context, c *sd.Conn, name string) (unit, error) {
	p, err := c.GetAllPropertiesContext(ctx, name)
	if err != nil {
		if named(err, "org.freedesktop.systemd1.NoSuchUnit") {
			return unit{name: name}, nil
		}
		return unit{}, err
	}
	return read(name, p), nil
}

func read(name string, p map[string]any) unit {
	u := unit{
		name: name, active: as[string](p, "ActiveState"), sub: as[string](p, "SubState"),
		env: as[[]string](p, "Environment"), result: as[string](p, "Result"),
		pid: int(as[uint32](p, "MainPID")), mainPID: int(as[uint32](p, "ExecMainPID")),
		code: int(as[int32](p, "ExecMainCode")), status: int(as[int32](p, "ExecMainStatus")),
		cpu: time.Duration(counted(p, "CPUUsageNSec")), peak: vm.Bytes(counted(p, "MemoryPeak")), // the peak is told since systemd 256
	}
	u.startTime = as[uint64](p, "ExecMainStartTimestampMonotonic") / (1_000_000 / userHZ)
	if job := as[[]any](p, "Job"); len(job) > 0 {
		u.job = job[0] != uint32(0)
	}
	u.loaded = as[string](p, "LoadState") != "not-found"
	if at := as[uint64](p, "ExecMainExitTimestamp"); at > 0 && at < math.MaxInt64 {
		u.ended = time.UnixMicro(int64(at))
	}
	return u
}

// as is a property of that type, or its zero.
func as[T any](p map[string]any, name string) T {
	v, _ := p[name].(T)
	return v
}

// counted is a number that systemd may not know; it says so by the largest.
func counted(p map[string]any, name string) int64 {
	v := as[uint64](p, name)
	if v > math.MaxInt64 {
		return 0
	}
	return int64(v)
}

// value makes a property.
func value(name string, v any) sd.Property {
	return sd.Property{Name: name, Value: dbus.MakeVariant(v)}
}
