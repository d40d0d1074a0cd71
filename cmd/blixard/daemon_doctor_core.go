package main

import (
	"github.com/blixard/blixard/actors/gateway"
	"github.com/blixard/blixard/host/folders"
)

// checkCores says where the core of a VMM goes, if its spec asks for one. That
// another program takes it is as most machines have it, and no fault.
func (d *daemon) checkCores() gateway.Finding { return coreFinding(folders.CorePattern()) }

func coreFinding(pattern string) gateway.Finding {
	if elsewhere := folders.CoreElsewhere(pattern, "PID"); elsewhere != "" {
		return ok("cores", "the core of a VMM with dump: {core: true} comes into no bundle, by kernel.core_pattern: "+elsewhere)
	}
	return ok("cores", "the core of a VMM with dump: {core: true} comes into the bundle of its death")
}
