package vm

import "time"

// CheckType is the kind of a probe.
type CheckType string

// The check types.
const (
	CheckProcess      CheckType = "process"       // the VMM's process runs: not stopped, not a zombie, not long uninterruptible
	CheckVMM          CheckType = "vmm"           // QMP answers, and no vCPU is provably unable to run
	CheckAgent        CheckType = "guest-agent"   // the guest agent answers a ping
	CheckConsole      CheckType = "console"       // patterns over the console's stream, a beat, or an answer to what is sent
	CheckTCP          CheckType = "tcp"           // a port takes a connection
	CheckHTTP         CheckType = "http"          // a URL answers
	CheckExec         CheckType = "exec"          // a command in the guest, through the agent
	CheckGuestProcess CheckType = "guest-process" // processes of a name in the guest, through the agent
)

// Role is what a check's verdict is for.
type Role string

// The roles. The first two are critical; readiness is advisory.
const (
	RoleStartup   Role = "startup"   // until it has passed once, the others are held off; then it is over
	RoleLiveness  Role = "liveness"  // failing, it makes the VM unhealthy, which supervision heals
	RoleReadiness Role = "readiness" // failing, it makes the VM degraded, and nothing else
)

// Check is one probe. Which fields a type takes, Spec.Check says.
type Check struct {
	Name        string        `json:"name,omitempty"` // unique in the VM; its type, where nobody says
	Type        CheckType     `json:"type"`
	Role        Role          `json:"role,omitempty"` // empty, as in records of an older daemon: liveness
	Interval    time.Duration `json:"interval"`
	Timeout     time.Duration `json:"timeout"`
	Failures    int           `json:"failures"`              // in a row, until it counts
	Successes   int           `json:"successes"`             // in a row, until it counts again
	StartPeriod time.Duration `json:"startPeriod,omitempty"` // so long after the launch it isn't asked; 0: at once

	Healthy   string        `json:"healthy,omitempty"`   // console: pattern
	Unhealthy string        `json:"unhealthy,omitempty"` // console: pattern; one sight is enough
	Every     time.Duration `json:"every,omitempty"`     // console: Healthy has to come again within this time; 0: once is enough
	Send      string        `json:"send,omitempty"`      // console: typed in each round, with Enter behind it, and answered by Healthy within the timeout
	Address   string        `json:"address,omitempty"`   // tcp: IP:PORT
	URL       string        `json:"url,omitempty"`       // http: http:// or https://
	Headers   []Header      `json:"headers,omitempty"`   // http
	Status    string        `json:"status,omitempty"`    // http: 200, or 200-399
	Body      string        `json:"body,omitempty"`      // http: pattern
	Command   []string      `json:"command,omitempty"`   // exec
	Exit      int           `json:"exit,omitempty"`      // exec: the status that is healthy
	Process   string        `json:"process,omitempty"`   // guest-process: the name, as the guest's kernel has it
	AtLeast   int           `json:"atLeast,omitempty"`   // guest-process: how many
}

// Header is one line of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Critical says whether supervision acts on the check's verdict.
func (c Check) Critical() bool { return c.Role != RoleReadiness }

// Probed is where one check stands. It is durable: a restarted daemon goes on
// counting, and doubts nothing that was proved (P10).
type Probed struct {
	Check  string    `json:"check"` // its name
	Health Health    `json:"health"`
	Since  time.Time `json:"since"`  // when Health became what it is
	Streak int       `json:"streak"` // results of one kind in a row: above 0 successes, below 0 failures
	Why    string    `json:"why"`    // what decided it
	At     time.Time `json:"at"`     // of the last result that was written down; successes in a row are not
}

// Round is one result of one check, as it was seen.
type Round struct {
	Check   string        `json:"check"`
	At      time.Time     `json:"at"` // when it began
	Took    time.Duration `json:"took"`
	OK      bool          `json:"ok"`
	Detail  string        `json:"detail,omitempty"`  // bounded; may hold a guest's text
	Dropped string        `json:"dropped,omitempty"` // why it doesn't count: the host's own stall (P16)
}
