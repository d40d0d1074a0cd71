// Package node runs a real daemon for chaos tests and benches: it starts, kills
// and restarts it by pid, drives it by the generated client and by the CLI, and
// looks for what it left behind.
//
//	Node ──exec──▶ bin/blixard daemon ──▶ VMMs (found by the scratch folder in their command line)
//	  │                 ▲
//	  └──client, CLI────┘ unix socket in the scratch folder
//
//	Service ──installs──▶ Machine: a systemd of its own, to reboot and to cut the power of
//	  │                     blixard.socket, blixard.service ──▶ VMMs in units
//	  └──client─────────────▶ the socket inside, by /proc/PID/root
//
// Nothing that a Node or a Machine didn't start is ever signalled, and nothing
// of either is left when the test ends, however it ends.
package node
