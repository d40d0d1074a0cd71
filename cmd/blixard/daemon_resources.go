package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/actors"
	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// resourcesConfig says how much of the machine is promised to VMs.
type resourcesConfig struct {
	// CPUs, Memory and Disk stand for what the machine says it has; nil: as it says.
	CPUs   *float64 `yaml:"cpus"`
	Memory *bytesOf `yaml:"memory"`
	Disk   *bytesOf `yaml:"disk"`
	// Overcommit is how much more is promised than is there.
	Overcommit struct {
		CPU    *float64 `yaml:"cpu"`
		Memory *float64 `yaml:"memory"`
		Disk   *float64 `yaml:"disk"`
	} `yaml:"overcommit"`
	// Reserve is kept for the host.
	Reserve struct {
		CPUs   *float64 `yaml:"cpus"`
		Memory *bytesOf `yaml:"memory"`
		Disk   *share   `yaml:"disk"`
	} `yaml:"reserve"`
	Disks  string    `yaml:"disks"`  // virtual: a disk counts with what it may grow to; allocated: with what it holds
	Sample *duration `yaml:"sample"` // between two looks at what the VMs use; nil: 10s; 0s: only when somebody asks
}

// bytesOf reads 512MiB.
type bytesOf vm.Bytes

// UnmarshalText reads a size as people write it.
func (s *bytesOf) UnmarshalText(b []byte) error {
	v, r := specfile.ParseSize(string(b))
	if r != nil {
		return &vm.Refusal{Code: r.Code, Why: fmt.Sprintf("%q is no size: %s", b, r.Why), Try: r.Try}
	}
	*s = bytesOf(v)
	return nil
}

// share reads 5% or 10GiB.
type share struct {
	of    float64 // 0..1, where it is a percentage
	bytes vm.Bytes
}

// UnmarshalText reads a percentage or a size.
func (s *share) UnmarshalText(b []byte) error {
	text, percent := strings.CutSuffix(string(b), "%")
	if !percent {
		return (*bytesOf)(&s.bytes).UnmarshalText(b)
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(v >= 0 && v < 100) {
		return fmt.Errorf("%.20q is no percentage from 0%% to 99%%", b)
	}
	s.of = v / 100
	return nil
}

// Bounds of the ratios: below the first nothing could be created, and the
// second is beyond what any machine survives.
const (
	lowestRatio  = 0.01
	highestRatio = 10_000
)

// terms are the daemon's, with the defaults filled in.
func (c resourcesConfig) terms() (actors.Resources, error) {
	t := policies.DefaultTerms
	for _, one := range []struct {
		key     string
		set, to *float64
		lowest  float64
	}{
		{"cpus", c.CPUs, &t.Override.CPUs, lowestRatio},
		{"overcommit.cpu", c.Overcommit.CPU, &t.Overcommit.CPU, lowestRatio},
		{"overcommit.memory", c.Overcommit.Memory, &t.Overcommit.Memory, lowestRatio},
		{"overcommit.disk", c.Overcommit.Disk, &t.Overcommit.Disk, lowestRatio},
		{"reserve.cpus", c.Reserve.CPUs, &t.Reserve.CPUs, 0},
	} {
		switch {
		case one.set == nil:
		case !(*one.set >= one.lowest && *one.set <= highestRatio): // also where it is no number
			return actors.Resources{}, &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("resources.%s is %v", one.key, *one.set), Try: fmt.Sprintf("a number from %v to %v", one.lowest, highestRatio),
			}
		default:
			*one.to = *one.set
		}
	}
	for _, one := range []struct {
		key    string
		set    *bytesOf
		to     *vm.Bytes
		lowest vm.Bytes
	}{
		{"memory", c.Memory, &t.Override.Memory, vm.MiB},
		{"disk", c.Disk, &t.Override.Disk, vm.MiB},
		{"reserve.memory", c.Reserve.Memory, &t.Reserve.Memory, 0},
	} {
		switch {
		case one.set == nil:
		case vm.Bytes(*one.set) < one.lowest:
			return actors.Resources{}, &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("resources.%s is %s", one.key, vm.Bytes(*one.set)), Try: "a size from 1MiB on, or leave it out: then it is what the machine has",
			}
		default:
			*one.to = vm.Bytes(*one.set)
		}
	}
	if r := c.Reserve.Disk; r != nil {
		t.Reserve.Disk, t.DiskShare = r.bytes, r.of
	}
	switch c.Disks {
	case "", "virtual":
	case "allocated":
		t.Allocated = true
	default:
		return actors.Resources{}, &vm.Refusal{Code: vm.Invalid, Why: fmt.Sprintf("resources.disks is %.60q", c.Disks), Try: "virtual or allocated"}
	}
	every, err := c.sampling()
	return actors.Resources{Terms: t, Sample: every}, err
}

// sampling is 0 for the default, and negative for never.
func (c resourcesConfig) sampling() (time.Duration, error) {
	if c.Sample == nil {
		return 0, nil
	}
	switch every := time.Duration(*c.Sample); {
	case every == 0:
		return -1, nil
	case every < time.Second || every > longestSample:
		return 0, &vm.Refusal{
			Code: vm.Invalid, Why: fmt.Sprintf("resources.sample is %s", every), Try: "1s to 1h, or 0s to look at the VMs only when somebody asks",
		}
	default:
		return every, nil
	}
}

// longestSample keeps alerts and reclaiming from sleeping for days.
const longestSample = time.Hour
