// Package service tries the packaged service on a machine with a systemd of its
// own: what `make install` puts there, as a person would enable it. What faults
// do to the daemon and its VMs is the business of test/chaos.
package service
