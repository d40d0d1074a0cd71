// Package chaos holds the scenarios on real QEMU: what the simulator plays with
// a fake host is done here to processes, sockets and guests. Each scenario has a
// node of its own, and at its end nothing may be left: no process, no socket, no
// folder, no zombie, and the daemon ends with 0 within two seconds.
//
// What a systemd, a bus, links, a reboot or a power cut has a part in happens to
// a site: the daemon, installed as a service on a machine of its own, which is
// gone at the end.
//
// They run under `make chaos`, which builds the daemon and the built-in guest
// and names the daemon in BLIXARD_BIN; BLIXARD_DEBIAN is the disk of the Debian
// guest that `make setup-test` has built. BLIXARD_CHAOS=all adds what CI has no
// time for: every wound of a store, more deaths of the daemon, the process
// launcher under systemd, and a host under load for as long as BLIXARD_LOAD says
// (10m). BLIXARD_SEED repeats the dice of one run.
package chaos
