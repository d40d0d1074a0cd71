package vm

import "time"

// AlertKind is what an alert is about.
type AlertKind string

// The alerts.
const (
	AlertMemory         AlertKind = "memory"
	AlertDisk           AlertKind = "disk"
	AlertDiskGrowth     AlertKind = "disk-growth" // full before long, at the pace of the last hour
	AlertCPUPressure    AlertKind = "cpu-pressure"
	AlertMemoryPressure AlertKind = "memory-pressure"
	AlertIOPressure     AlertKind = "io-pressure"
	AlertOvercommit     AlertKind = "overcommit"   // more is reserved than the node can keep by now
	AlertUnreleased     AlertKind = "unreleased"   // a reservation that no VM has
	AlertOutOfSpace     AlertKind = "out-of-space" // a VM stands still, as its disk can't grow
)

// AlertKinds returns every kind.
func AlertKinds() []AlertKind {
	return []AlertKind{
		AlertMemory, AlertDisk, AlertDiskGrowth, AlertCPUPressure, AlertMemoryPressure, AlertIOPressure,
		AlertOvercommit, AlertUnreleased, AlertOutOfSpace,
	}
}

// Alert is something that a person should look at, for as long as it holds.
type Alert struct {
	Kind  AlertKind `json:"kind"`
	VM    Name      `json:"vm,omitempty"` // empty: the node itself
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // a sentence with the numbers
	Try   string    `json:"try"` // what to do
}
