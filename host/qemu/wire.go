package qemu

import (
	"encoding/json"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxLine bounds one line of QMP; QEMU's longest answers to our commands have a few hundred bytes.
const maxLine = 1 << 20

// maxDetail bounds the text of a Notice, which may be the guest's (P15).
const maxDetail = 256

// message is one line from QEMU: a greeting, an answer or an event.
type message struct {
	Greeting json.RawMessage `json:"QMP"`
	ID       uint64          `json:"id"`
	Return   json.RawMessage `json:"return"`
	Error    *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	Stamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// request is one line to QEMU or to a guest agent.
type request struct {
	Execute   string `json:"execute"`
	Arguments any    `json:"arguments,omitempty"`
	ID        uint64 `json:"id,omitempty"`
}

func decode(line []byte) (message, error) {
	var m message
	err := json.Unmarshal(line, &m)
	return m, err
}

// steps are the events that end a wait of ours, and tell the actors nothing.
var steps = map[string]bool{"MIGRATION": true, "DUMP_COMPLETED": true, "RESUME": true}

// notice translates an event of QEMU; false: it doesn't matter to us.
func (m *message) notice() (host.Notice, bool) {
	var data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
		Action string `json:"action"`
		Full   bool   `json:"nospace"`
		Disk   string `json:"node-name"`
		Doing  string `json:"operation"`
	}
	_ = json.Unmarshal(m.Data, &data) // other shapes, or none, are events that we don't know
	n := host.Notice{Detail: clip(m.Event + " " + string(m.Data)), At: time.Unix(m.Stamp.Seconds, m.Stamp.Microseconds*1000)}
	switch m.Event {
	case "SHUTDOWN":
		// The host's own reasons (our Quit, a signal) are told by the process's end.
		n.Kind = map[string]host.NoticeKind{
			"guest-shutdown": host.NoticePowerOff, "guest-reset": host.NoticeResetEnd, "guest-panic": host.NoticePanic,
		}[data.Reason]
	case "RESET":
		if data.Guest {
			n.Kind = host.NoticeReset
		}
	case "GUEST_PANICKED":
		n.Kind = host.NoticePanic
	case "BLOCK_IO_ERROR":
		if data.Action == "stop" {
			n.Kind, n.Detail = host.NoticeIOError, clip(data.Disk+" "+data.Doing+": "+data.Reason)
			if data.Full {
				n.Kind, n.Detail = host.NoticeNoSpace, clip(data.Disk)
			}
		}
	case "WATCHDOG":
		if data.Action == "pause" { // a runner's may do what it will
			n.Kind = host.NoticeWatchdog
		}
	case "GUEST_CRASHLOADED":
		n.Kind = host.NoticeCrashed
	}
	return n, n.Kind != ""
}

func clip(s string) string { return vm.Cut(s, maxDetail) }

// guestStates are QEMU's run states that mean something to us. The others pass by
// themselves (finish-migrate, restore-vm, save-vm, prelaunch), or are somebody
// else's wish (debug, suspended, colo).
var guestStates = map[string]host.GuestState{
	"running":        host.GuestRuns,
	"paused":         host.GuestPaused,
	"shutdown":       host.GuestOff,
	"guest-panicked": host.GuestPanicked,
	"io-error":       host.GuestIOError,
	"inmigrate":      host.GuestLoading,
	"postmigrate":    host.GuestSaved,
	"watchdog":       host.GuestHung,
	"internal-error": host.GuestBroken,
}

// guestState translates QEMU's run states.
func guestState(status string) host.GuestState {
	if s, ok := guestStates[status]; ok {
		return s
	}
	return host.GuestOther
}
