package policies_test

import (
	"testing"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

var noon = time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)

func TestRatesAreWhatGrewBetweenTwoSamples(t *testing.T) {
	before := vm.Usage{Counters: vm.Counters{
		At: noon, CPU: 5 * time.Second, VCPU: 3 * time.Second, Read: 100, Written: 200, Received: 300, Sent: 400, Packets: 50,
	}}
	now := vm.Counters{
		At: noon.Add(10 * time.Second), CPU: 10 * time.Second, VCPU: 4 * time.Second, Memory: vm.MiB,
		Read: 1100, Written: 200, Received: 10_300, Sent: 420, Packets: 80,
	}
	got := policies.Rates(before, now)
	want := vm.Usage{
		Counters: now, Over: 10 * time.Second, CPUPercent: 50, VCPU: 10, ReadRate: 100, RxRate: 1000, TxRate: 2, PacketRate: 3,
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNoRateWithoutTwoSamplesOfOneProcess(t *testing.T) {
	now := vm.Counters{At: noon, CPU: 10 * time.Second, VCPU: time.Second, Read: 1 << 20}
	for what, before := range map[string]vm.Usage{
		"the first sample":    {},
		"a clock set back":    {Counters: vm.Counters{At: noon.Add(time.Hour)}},
		"no time went by":     {Counters: vm.Counters{At: noon}},
		"another VMM, by now": {Counters: vm.Counters{At: noon.Add(-time.Second), CPU: 11 * time.Second}},
	} {
		if got := policies.Rates(before, now); got != (vm.Usage{Counters: now}) {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestCounterThatWentBackHasNoRate(t *testing.T) {
	before := vm.Usage{Counters: vm.Counters{At: noon, CPU: time.Second, VCPU: time.Second, Received: 1000, Sent: 10, Packets: 9}}
	now := vm.Counters{At: noon.Add(time.Second), CPU: 2 * time.Second, Received: 5, Sent: 20, Packets: 1} // a tap was made anew
	got := policies.Rates(before, now)
	if got.RxRate != 0 || got.PacketRate != 0 || got.VCPU != 0 || got.TxRate != 10 || got.CPUPercent != 100 {
		t.Errorf("%+v", got)
	}
}

func TestIdleSinceTheFirstOfTheSamplesBelowAllMarks(t *testing.T) {
	measure := vm.Idle{CPU: 2, Packets: 10, IO: 1000}
	idle := vm.Usage{Counters: vm.Counters{VCPU: time.Second}, CPUPercent: 50, VCPU: 1, PacketRate: 9, ReadRate: 500, WriteRate: 499}
	var last vm.Usage
	story := []struct {
		what string
		then func(*vm.Usage)
		want int // seconds after noon; -1: not idle
	}{
		{"the first sample says nothing", func(u *vm.Usage) { u.Over = 0 }, -1},
		{"idle, as its own threads don't count", func(*vm.Usage) {}, 0},
		{"still", func(*vm.Usage) {}, 0},
		{"its vCPUs work", func(u *vm.Usage) { u.VCPU = 2 }, -1},
		{"idle again", func(*vm.Usage) {}, 30},
		{"packets", func(u *vm.Usage) { u.PacketRate = 10 }, -1},
		{"disk", func(u *vm.Usage) { u.WriteRate = 500 }, -1},
		{"idle once more", func(*vm.Usage) {}, 60},
		{"the clock was set back", func(u *vm.Usage) { u.Over = 0 }, -1},
		{"nobody can tell its vCPUs from the rest", func(u *vm.Usage) { u.Counters.VCPU = 0 }, -1},
		{"and the rest is idle", func(u *vm.Usage) { u.Counters.VCPU, u.CPUPercent = 0, 1 }, 90},
	}
	for i, s := range story {
		u := idle
		u.At, u.Over = noon.Add(time.Duration(i)*10*time.Second), 10*time.Second
		s.then(&u)
		u.IdleSince = policies.Idle(last, u, measure)
		want := noon.Add(time.Duration(s.want) * time.Second)
		if s.want < 0 {
			want = time.Time{}
		}
		if !u.IdleSince.Equal(want) {
			t.Errorf("%s: idle since %s, want %s", s.what, u.IdleSince, want)
		}
		last = u
	}
	u := vm.Usage{Counters: vm.Counters{At: noon}, Over: time.Second}
	if since := policies.Idle(vm.Usage{}, u, vm.Idle{}); !since.IsZero() {
		t.Errorf("by no measure it is idle since %s", since)
	}
}

func TestNodeIsBusyByAllItsProcessors(t *testing.T) {
	before := vm.NodeUsage{At: noon, Busy: time.Minute}
	now := vm.NodeUsage{At: noon.Add(10 * time.Second), Busy: time.Minute + 15*time.Second, Memory: vm.GiB}
	if got := policies.NodeRates(before, now); got.CPUPercent != 150 || got.Memory != vm.GiB {
		t.Errorf("%+v", got)
	}
	if got := policies.NodeRates(vm.NodeUsage{}, now); got != now {
		t.Errorf("the first sample: %+v", got)
	}
	if got := policies.NodeRates(now, before); got != before {
		t.Errorf("a clock set back: %+v", got)
	}
}
