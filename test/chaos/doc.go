// Package chaos holds the scenarios on real QEMU: what the simulator plays with
// a fake host is done here to processes, sockets and guests. Each scenario has a
// node of its own, and at its end nothing may be left: no process, no socket, no
// folder, no zombie, and the daemon ends with 0 within two seconds.
//
// They run under `make chaos`, which builds the daemon and the built-in guest
// and names the daemon in BLIXARD_BIN.
package chaos
