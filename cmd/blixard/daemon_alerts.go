package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// alertsConfig says when the node tells of itself; what isn't set takes the default.
type alertsConfig struct {
	Memory   markConfig `yaml:"memory"`
	Disk     markConfig `yaml:"disk"`
	Pressure struct {
		CPU    markConfig `yaml:"cpu"`
		Memory markConfig `yaml:"memory"`
		IO     markConfig `yaml:"io"`
	} `yaml:"pressure"`
	FullWithin *duration `yaml:"fullWithin"` // the disk is full before that, at the pace of the last hour; nil: 12h; 0s: it is never told
	Overcommit *duration `yaml:"overcommit"` // too much is reserved for this long; nil: 30s; 0s: at once
	Unreleased *duration `yaml:"unreleased"` // a reservation that no VM has, for this long; nil: 1m; 0s: at once
}

// markConfig is the hysteresis of one alert.
type markConfig struct {
	Raise percentage `yaml:"raise"`
	Clear percentage `yaml:"clear"`
	For   *duration  `yaml:"for"` // 0s: at once
}

// reclaimConfig says when the node takes memory back from idle VMs before
// their time; what isn't set takes the default.
type reclaimConfig struct {
	Available percentage `yaml:"available"` // of the node's memory: below it is short
	Pressure  percentage `yaml:"pressure"`  // PSI memory: from it on it is short
	Between   duration   `yaml:"between"`   // between two steps for want of memory
	Retry     duration   `yaml:"retry"`     // after a step that could not be done
}

// percentage reads 85% or 85. Without its sign a number up to 1 may be meant as
// a share of 1, and is refused.
type percentage float64

// UnmarshalText reads a percentage as people write it.
func (p *percentage) UnmarshalText(b []byte) error {
	text, signed := strings.CutSuffix(string(b), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(v > 0 && v <= 100) {
		return fmt.Errorf("%.20q is no percentage above 0%% and up to 100%%", b)
	}
	if v <= 1 && !signed {
		return fmt.Errorf("%v could be %v%% or %v%%: write it in percent, with the sign", v, v, 100*v)
	}
	*p = percentage(v)
	return nil
}

// marks are the thresholds with the defaults filled in.
func (c alertsConfig) marks() (policies.AlertMarks, error) {
	m := policies.DefaultAlertMarks
	for _, one := range []struct {
		key string
		set markConfig
		to  *policies.AlertMark
	}{
		{"memory", c.Memory, &m.Memory},
		{"disk", c.Disk, &m.Disk},
		{"pressure.cpu", c.Pressure.CPU, &m.CPU},
		{"pressure.memory", c.Pressure.Memory, &m.MemoryWait},
		{"pressure.io", c.Pressure.IO, &m.IO},
	} {
		if one.set.Raise != 0 {
			one.to.Raise = float64(one.set.Raise)
			one.to.Clear = min(one.to.Clear, one.to.Raise*0.9)
		}
		if one.set.Clear != 0 {
			one.to.Clear = float64(one.set.Clear)
		}
		if one.set.For != nil {
			one.to.For = time.Duration(*one.set.For)
		}
		if one.to.Clear >= one.to.Raise {
			return m, &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("alerts.%s is raised at %v%% and cleared at %v%%, so it would come and go", one.key, one.to.Raise, one.to.Clear),
				Try: fmt.Sprintf("clear: %v%%", one.to.Raise*0.9),
			}
		}
	}
	for _, one := range []struct {
		set *duration
		to  *time.Duration
	}{{c.FullWithin, &m.FullWithin}, {c.Overcommit, &m.Overlong}, {c.Unreleased, &m.Unreleased}} {
		if one.set != nil {
			*one.to = time.Duration(*one.set)
		}
	}
	return m, nil
}

func (c reclaimConfig) rules() policies.ReclaimRules {
	r := policies.DefaultReclaimRules
	if c.Available != 0 {
		r.Available = float64(c.Available)
	}
	if c.Pressure != 0 {
		r.Pressure = float64(c.Pressure)
	}
	if c.Between != 0 {
		r.Between = time.Duration(c.Between)
	}
	if c.Retry != 0 {
		r.Retry = time.Duration(c.Retry)
	}
	return r
}
