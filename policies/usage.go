package policies

import (
	"time"

	"github.com/blixard/blixard/vm"
)

// Rates is what a VMM uses by now, and how fast: what its counters grew by
// since the sample before. There is no rate where there was no sample of the
// same process, or the clock didn't go on between the two; a single counter
// that went back, as that of a tap that was made anew, has none either.
func Rates(before vm.Usage, now vm.Counters) vm.Usage {
	u := vm.Usage{Counters: now}
	over := now.At.Sub(before.At)
	if before.At.IsZero() || over <= 0 || now.CPU < before.CPU {
		return u
	}
	u.Over = over
	u.CPUPercent = percent(before.CPU, now.CPU, over)
	u.VCPU = percent(before.Counters.VCPU, now.VCPU, over)
	u.ReadRate = rate(before.Read, now.Read, over)
	u.WriteRate = rate(before.Written, now.Written, over)
	u.RxRate = rate(before.Received, now.Received, over)
	u.TxRate = rate(before.Sent, now.Sent, over)
	u.PacketRate = rate(before.Packets, now.Packets, over)
	return u
}

// NodeRates is the same of the whole node.
func NodeRates(before, now vm.NodeUsage) vm.NodeUsage {
	over := now.At.Sub(before.At)
	if before.At.IsZero() || over <= 0 {
		return now
	}
	now.CPUPercent = percent(before.Busy, now.Busy, over)
	return now
}

// percent is processor time in percent of one processor.
func percent(before, now, over time.Duration) float64 {
	if now < before {
		return 0
	}
	return 100 * float64(now-before) / float64(over)
}

// rate is how much comes in a second.
func rate[N vm.Bytes | uint64](before, now N, over time.Duration) float64 {
	if now < before {
		return 0
	}
	return float64(now-before) / over.Seconds()
}

// Idle is since when the VM is idle by that measure: since the sample after
// which it was below all of it; zero where it isn't, or nobody knows, as after
// the first sample. A measure of zero is met by nobody.
func Idle(before, now vm.Usage, measure vm.Idle) time.Time {
	busy := now.VCPU
	if now.Counters.VCPU == 0 { // a VMM that doesn't name its threads
		busy = now.CPUPercent
	}
	if now.Over <= 0 || busy >= measure.CPU || now.PacketRate >= measure.Packets || now.ReadRate+now.WriteRate >= float64(measure.IO) {
		return time.Time{}
	}
	if !before.IdleSince.IsZero() {
		return before.IdleSince
	}
	return now.At.Add(-now.Over)
}
