package specfile

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/blixard/blixard/vm"
)

// Format writes a spec as people write it, every field shown. Parse of it
// gives the same spec.
func Format(s vm.Spec) ([]byte, error) {
	out, err := yaml.MarshalWithOptions(Tree(s), yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("writing the spec of %s: %v", s.Name, err)
	}
	return out, nil
}

// Tree is the spec for a larger YAML document.
func Tree(s vm.Spec) yaml.MapSlice {
	m := yaml.MapSlice{
		{Key: "name", Value: string(s.Name)},
		{Key: "cpus", Value: s.CPUs},
		{Key: "memory", Value: s.Memory.String()},
		{Key: "boot", Value: bootTree(s.Boot)},
	}
	var disks, networks, health []any
	for _, d := range s.Disks {
		disks = append(disks, diskTree(d))
	}
	for _, n := range s.Networks {
		networks = append(networks, networkTree(n))
	}
	for _, c := range s.Health {
		health = append(health, checkTree(c))
	}
	m = some(m, "disks", disks)
	m = some(m, "networks", networks)
	m = append(m, yaml.MapItem{Key: "restart", Value: restartTree(s.Restart)}, yaml.MapItem{Key: "autostart", Value: autostartTree(s.Autostart)})
	m = healingTree(some(m, "health", health), s)
	m = seedTree(m, s.Seed)
	return append(
		m,
		yaml.MapItem{Key: "start", Value: yaml.MapSlice{{Key: "timeout", Value: vm.Span(s.Start.Timeout)}}},
		yaml.MapItem{Key: "stop", Value: yaml.MapSlice{{Key: "method", Value: s.Stop.Method}, {Key: "timeout", Value: vm.Span(s.Stop.Timeout)}}},
		yaml.MapItem{Key: "resources", Value: yaml.MapSlice{
			{Key: "cpuWeight", Value: s.Resources.CPUWeight},
			{Key: "cpuQuota", Value: strconv.Itoa(s.Resources.CPUQuota) + "%"},
			{Key: "ioWeight", Value: s.Resources.IOWeight},
		}},
		yaml.MapItem{Key: "reclaim", Value: reclaimTree(s.Reclaim)},
	)
}

func bootTree(b vm.Boot) (m yaml.MapSlice) {
	m = said(m, "image", b.Image)
	m = said(m, "kernel", b.Kernel)
	m = said(m, "initrd", b.Initrd)
	m = said(m, "cmdline", b.Cmdline)
	m = said(m, "disk", b.Disk)
	m = said(m, "runner", b.Runner)
	return said(m, "flake", b.Flake)
}

func diskTree(d vm.Disk) yaml.MapSlice {
	m := yaml.MapSlice{{Key: "name", Value: d.Name}}
	if d.Size != 0 {
		m = said(m, "size", d.Size.String())
	}
	m = said(m, "path", d.Path)
	return append(m, yaml.MapItem{Key: "readOnly", Value: d.ReadOnly})
}

func networkTree(n vm.Network) yaml.MapSlice {
	mac := n.MAC
	if mac == "" {
		mac = "auto"
	}
	m := said(yaml.MapSlice{{Key: "mode", Value: string(n.Mode)}}, "bridge", n.Bridge)
	m = append(m, yaml.MapItem{Key: "mac", Value: mac})
	if n.MTU != 0 {
		m = append(m, yaml.MapItem{Key: "mtu", Value: n.MTU})
	}
	return m
}

func autostartTree(a vm.Autostart) yaml.MapSlice {
	var depends []any
	for _, d := range a.DependsOn {
		depends = append(depends, yaml.MapSlice{
			{Key: "vm", Value: string(d.VM)}, {Key: "is", Value: d.Is}, {Key: "timeout", Value: vm.Span(d.Timeout)},
		})
	}
	m := yaml.MapSlice{{Key: "policy", Value: string(a.Policy)}, {Key: "priority", Value: a.Priority}}
	return some(m, "dependsOn", depends)
}

func restartTree(r vm.Restart) yaml.MapSlice {
	m := yaml.MapSlice{{Key: "policy", Value: string(r.Policy)}}
	m = append(m, yaml.MapItem{Key: "delay", Value: yaml.MapSlice{
		{Key: "initial", Value: vm.Span(r.Delay.Initial)},
		{Key: "factor", Value: r.Delay.Factor},
		{Key: "max", Value: vm.Span(r.Delay.Max)},
		{Key: "jitter", Value: r.Delay.Jitter},
	}})
	var delays []any
	for _, d := range r.Delays {
		delays = append(delays, vm.Span(d))
	}
	m = some(m, "delays", delays)
	return append(
		m,
		yaml.MapItem{Key: "budget", Value: yaml.MapSlice{
			{Key: "attempts", Value: r.Budget.Attempts}, {Key: "window", Value: vm.Span(r.Budget.Window)},
		}},
		yaml.MapItem{Key: "resetAfter", Value: vm.Span(r.ResetAfter)},
	)
}

func said(m yaml.MapSlice, key, value string) yaml.MapSlice {
	if value == "" {
		return m
	}
	return append(m, yaml.MapItem{Key: key, Value: written(value)})
}

// written is a text as the library writes it right: what has several lines is a
// block only where it looks as an editor leaves it, and else stands in quotes.
func written(s string) any {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if len(lines) == 1 && !strings.HasSuffix(s, "\n") && !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	for i, line := range lines {
		blank := strings.TrimSpace(line) == ""
		if blank && (line != "" || i == 0 || i == len(lines)-1) || i == 0 && strings.TrimLeft(line, " \t") != line ||
			strings.ContainsFunc(line, func(r rune) bool { return r != '\t' && (unicode.IsControl(r) || !unicode.IsPrint(r)) }) {
			return inQuotes(s)
		}
	}
	return s
}

// inQuotes is a text with everything in it that no line can hold.
type inQuotes string

// MarshalYAML uses the escapes of Go, which are YAML's too.
func (s inQuotes) MarshalYAML() ([]byte, error) { return []byte(strconv.Quote(string(s))), nil }

func some(m yaml.MapSlice, key string, values []any) yaml.MapSlice {
	if len(values) == 0 {
		return m
	}
	return append(m, yaml.MapItem{Key: key, Value: values})
}
