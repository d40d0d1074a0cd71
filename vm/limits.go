package vm

// Limits are what a VMM is held to; zero values don't limit.
type Limits struct {
	Memory    Bytes // guest RAM and overhead; without swap
	CPUQuota  int   // percent of one processor
	CPUWeight int   // 1..10000, 100 is the usual
	IOWeight  int   // 1..10000, 100 is the usual
	Tasks     int
}

// Holding says which limits a launcher can hold on this machine. A word for
// each that it can't: why, for people; empty: it holds.
type Holding struct {
	Memory, CPU, IO, Tasks string
}

// OutOfMemory is the kernel's kill of a VMM for want of memory: at its own limit,
// or at one around it.
type OutOfMemory struct {
	Victim string `json:"victim"` // the process that was killed: name and pid
	Limit  Bytes  `json:"limit"`
	Usage  Bytes  `json:"usage"`          // the highest that was seen
	Host   bool   `json:"host,omitempty"` // its own limit wasn't met: the node's memory was at its end, or that of a group around it
}
