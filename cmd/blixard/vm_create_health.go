package main

import (
	"regexp"
	"strings"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/vm"
)

// checkWords are the words of a check that a flag takes.
const checkWords = "name, role, interval, timeout, failures, successes, startPeriod, healthy, unhealthy, every, send, address, url, status, body, command, exit, process, atLeast"

// wordOfCheck begins a key=value.
var wordOfCheck = regexp.MustCompile(`^[A-Za-z]+=`)

// checkFlag reads TYPE[:WHAT][,key=value…]: what is looked for is the pattern of
// a console, the address, the URL, the command, or the process's name. A comma
// that no key= follows is part of what stands before it.
func checkFlag(text string) (vm.Check, error) {
	kind, rest, found := strings.Cut(text, ":")
	if comma := strings.IndexByte(kind, ','); comma >= 0 { // TYPE,key=value
		kind, rest, found = text[:comma], text[comma+1:], true
	}
	c := vm.Check{Type: vm.CheckType(kind)}
	if !found {
		return c, nil
	}
	for i, one := range piecesOf(rest) {
		if i == 0 && !wordOfCheck.MatchString(one) {
			if err := whatOf(&c, one); err != nil {
				return c, err
			}
			continue
		}
		key, value, _ := strings.Cut(one, "=")
		ok, r := setCheck(&c, key, value)
		switch {
		case r != nil:
			return c, flagged("--health "+key, r)
		case key == "startup":
			return c, invalid("--start-timeout, which is what startup= sets in a spec file", "--health doesn't take startup=")
		case !ok:
			return c, invalid("one of "+checkWords, "--health doesn't know %.60q", key)
		}
		if err := keyOfZero("--health", key, value); err != nil {
			return c, err
		}
	}
	return c, nil
}

// piecesOf splits at the commas that a key= follows.
func piecesOf(text string) (out []string) {
	for one := range strings.SplitSeq(text, ",") {
		if len(out) > 0 && !wordOfCheck.MatchString(one) {
			out[len(out)-1] += "," + one
			continue
		}
		out = append(out, one)
	}
	return out
}

// whatOf sets what the type is mainly about.
func whatOf(c *vm.Check, what string) error {
	switch c.Type {
	case vm.CheckConsole:
		c.Healthy = what
	case vm.CheckTCP:
		c.Address = what
	case vm.CheckHTTP:
		c.URL = what
	case vm.CheckGuestProcess:
		c.Process = what
	case vm.CheckExec:
		words, r := specfile.ParseWords(what)
		if r != nil {
			return flagged("--health exec", r)
		}
		c.Command = words
	case vm.CheckAgent, vm.CheckVMM, vm.CheckProcess:
		return invalid("--health "+string(c.Type), "--health %s looks for nothing, and %.60q isn't key=value", c.Type, what)
	default: // Spec.Check names the types
	}
	return nil
}

func setCheck(c *vm.Check, key, value string) (ok bool, r *vm.Refusal) {
	texts := map[string]*string{
		"name": &c.Name, "role": (*string)(&c.Role), "healthy": &c.Healthy, "unhealthy": &c.Unhealthy, "send": &c.Send,
		"address": &c.Address, "url": &c.URL, "status": &c.Status, "body": &c.Body, "process": &c.Process,
	}
	if to := texts[key]; to != nil {
		*to = value
		return true, nil
	}
	switch key {
	case "interval":
		c.Interval, r = specfile.ParseDuration(value)
	case "timeout":
		c.Timeout, r = specfile.ParseDuration(value)
	case "startPeriod":
		c.StartPeriod, r = specfile.ParseDuration(value)
	case "every":
		c.Every, r = specfile.ParseDuration(value)
	case "failures":
		c.Failures, r = wholeNumber(value)
	case "successes":
		c.Successes, r = wholeNumber(value)
	case "exit":
		c.Exit, r = wholeNumber(value)
	case "atLeast":
		c.AtLeast, r = wholeNumber(value)
	case "command":
		c.Command, r = specfile.ParseWords(value)
	default:
		return false, nil
	}
	return true, r
}
