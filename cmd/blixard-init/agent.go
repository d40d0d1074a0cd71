package main

import (
	"encoding/json"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// agent answers the QEMU guest-agent protocol, as far as a supervisor needs it.
// Shapes and names are those of qga/qapi-schema.json.
type agent struct {
	console   *console
	faults    *faults
	processes *processes
	answered  chan struct{} // closed after the first answer
	once      sync.Once
}

// request is what the host asks.
type request struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        json.RawMessage `json:"id,omitempty"`
}

// response is what we answer: Return or Error.
type response struct {
	Return any             `json:"return,omitempty"`
	Error  *problem        `json:"error,omitempty"`
	ID     json.RawMessage `json:"id,omitempty"`
}

type problem struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// empty is the answer of commands that have none: "return": {}.
type empty struct{}

// errNoAnswer is returned by commands that end without one, as guest-shutdown does.
var errNoAnswer = errors.New("no answer")

// errUnknown is returned for commands that we don't have.
var errUnknown = errors.New("not found")

// serve answers for ever. A port that fails is tried again: the host's side may
// have gone and come back.
func (a *agent) serve(p *port) {
	var s scanner
	buf := make([]byte, 4096)
	for {
		n, err := p.read(buf)
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.feed(buf[:n], func(object []byte) {
			if out := a.answer(object); out != nil && a.faults.answers() {
				a.faults.tell(p, out)
				a.once.Do(func() { close(a.answered) })
			}
		})
	}
}

// waitAnswered returns after the first answer, or when time is up.
func (a *agent) waitAnswered(atMost time.Duration) {
	select {
	case <-a.answered:
	case <-time.After(atMost):
	}
}

// answer returns the bytes that answer one request, or nil for none.
func (a *agent) answer(object []byte) []byte {
	if !a.faults.answers() {
		return nil
	}
	var r request
	if err := json.Unmarshal(object, &r); err != nil {
		return encode(response{Error: &problem{"GenericError", "JSON parse error: " + err.Error()}}, false)
	}
	result, err := a.execute(r)
	if errors.Is(err, errNoAnswer) {
		return nil
	}
	out := response{Return: result, ID: r.ID}
	if err != nil {
		class := "GenericError"
		if errors.Is(err, errUnknown) {
			class = "CommandNotFound"
			err = errors.New("The command " + r.Execute + " has not been found")
		}
		out = response{Error: &problem{class, err.Error()}, ID: r.ID}
	}
	return encode(out, r.Execute == "guest-sync-delimited")
}

func encode(r response, delimited bool) []byte {
	b, err := json.Marshal(r)
	if err != nil {
		b = []byte(`{"error": {"class": "GenericError", "desc": "the answer can't be encoded"}}`)
	}
	if delimited {
		b = append([]byte{resync}, b...)
	}
	return append(b, '\n')
}

func (a *agent) execute(r request) (any, error) {
	switch r.Execute {
	case "guest-ping":
		return empty{}, nil
	case "guest-sync", "guest-sync-delimited":
		return synchronize(r.Arguments)
	case "guest-info":
		return info(), nil
	case "guest-get-osinfo":
		return a.osInfo(), nil
	case "guest-get-host-name":
		return hostName(), nil
	case "guest-get-time":
		return time.Now().UnixNano(), nil
	case "guest-set-time":
		return setTime(r.Arguments)
	case "guest-shutdown":
		return a.shutdown(r.Arguments)
	case "guest-exec":
		return a.processes.exec(r.Arguments)
	case "guest-exec-status":
		return a.processes.status(r.Arguments)
	}
	return nil, errUnknown
}

// synchronize returns the number that it is given: what comes after it is no answer to
// somebody before.
func synchronize(arguments json.RawMessage) (any, error) {
	var in struct {
		ID *int64 `json:"id"`
	}
	if err := json.Unmarshal(arguments, &in); err != nil {
		return nil, err
	}
	if in.ID == nil {
		return nil, errors.New("Parameter 'id' is missing")
	}
	return *in.ID, nil
}

// setTime sets the clock to what it is told. Where it is told nothing, qemu-ga
// reads the hardware's clock, which this guest's machine may not have.
func setTime(arguments json.RawMessage) (any, error) {
	var in struct {
		Time *int64 `json:"time"`
	}
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &in); err != nil {
			return nil, err
		}
	}
	if in.Time == nil {
		return nil, errors.New("Parameter 'time' is missing")
	}
	now := unix.NsecToTimespec(*in.Time)
	return empty{}, unix.ClockSettime(unix.CLOCK_REALTIME, &now)
}

// shutdown does not answer when it works, as qemu-ga doesn't.
func (a *agent) shutdown(arguments json.RawMessage) (any, error) {
	in := struct {
		Mode string `json:"mode"`
	}{"powerdown"}
	if len(arguments) > 0 {
		if err := json.Unmarshal(arguments, &in); err != nil {
			return nil, err
		}
	}
	cmd, ok := map[string]int{
		"powerdown": unix.LINUX_REBOOT_CMD_POWER_OFF,
		"halt":      unix.LINUX_REBOOT_CMD_HALT,
		"reboot":    unix.LINUX_REBOOT_CMD_RESTART,
	}[in.Mode]
	if !ok {
		return nil, errors.New("Invalid parameter 'mode'")
	}
	if a.faults.stubborn.Load() {
		a.console.say("asked to " + in.Mode + ", which it won't")
		return nil, errNoAnswer
	}
	a.console.say(in.Mode)
	go powerOff(cmd)
	return nil, errNoAnswer
}
