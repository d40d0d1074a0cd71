package main

import (
	"golang.org/x/sys/unix"
)

// version is that of the protocol's schema, which tells clients what to expect.
const version = "7.2.0"

type guestInfo struct {
	Version  string    `json:"version"`
	Commands []command `json:"supported_commands"`
}

type command struct {
	Name            string `json:"name"`
	Enabled         bool   `json:"enabled"`
	SuccessResponse bool   `json:"success-response"`
}

func info() guestInfo {
	out := guestInfo{Version: version}
	for _, name := range []string{
		"guest-exec", "guest-exec-status", "guest-get-host-name", "guest-get-osinfo", "guest-get-time", "guest-info",
		"guest-ping", "guest-shutdown", "guest-sync", "guest-sync-delimited",
	} {
		out.Commands = append(out.Commands, command{name, true, name != "guest-shutdown"})
	}
	return out
}

type osInfo struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	PrettyName    string `json:"pretty-name"`
	KernelRelease string `json:"kernel-release"`
	KernelVersion string `json:"kernel-version"`
	Machine       string `json:"machine"`
}

func (a *agent) osInfo() osInfo {
	u := uname()
	out := osInfo{
		ID: "blixard", Name: "Blixard built-in guest", PrettyName: "Blixard built-in guest",
		KernelRelease: unix.ByteSliceToString(u.Release[:]),
		KernelVersion: unix.ByteSliceToString(u.Version[:]),
		Machine:       unix.ByteSliceToString(u.Machine[:]),
	}
	if a.console.escapes.Load() {
		out.PrettyName += hostile
	}
	return out
}

func hostName() any {
	u := uname()
	return struct {
		Name string `json:"host-name"`
	}{unix.ByteSliceToString(u.Nodename[:])}
}

// uname can't fail with a pointer of ours.
func uname() (u unix.Utsname) {
	_ = unix.Uname(&u)
	return u
}
