package specfile

import (
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

func (f *reader) rung(path string, n ast.Node) (r vm.Rung) {
	f.object(path, n, fields{
		"do":    text(f, &r.Do),
		"times": f.integer(&r.Times), // 0: without limit
		"for":   f.causes(&r.For),
	})
	return r
}

func (f *reader) causes(to *[]vm.Cause) func(string, ast.Node) {
	return list(f, to, func(path string, n ast.Node) (c vm.Cause) {
		text(f, &c)(path, n)
		return c
	})
}

func (f *reader) dump(d *vm.Dump) func(string, ast.Node) {
	return f.mapping(fields{
		"on":      f.causes(&d.On),
		"format":  text(f, &d.Format),
		"timeout": nonzero(f, &d.Timeout, f.duration, "1s", ""),
		"core":    f.truth(&d.Core),
	})
}

func (f *reader) seed(s *vm.Seed) func(string, ast.Node) {
	return f.mapping(fields{
		"hostname": text(f, &s.Hostname),
		"sshKeys": list(f, &s.SSHKeys, func(path string, n ast.Node) (key string) {
			text(f, &key)(path, n)
			return key
		}),
		"userData": text(f, &s.UserData),
		"network":  text(f, &s.Network),
	})
}

// healingTree is what is done about a guest that is sick.
func healingTree(m yaml.MapSlice, s vm.Spec) yaml.MapSlice {
	var rungs []any
	for _, r := range s.Remedies {
		rung := yaml.MapSlice{{Key: "do", Value: string(r.Do)}}
		if r.Times != 0 {
			rung = append(rung, yaml.MapItem{Key: "times", Value: r.Times})
		}
		rungs = append(rungs, some(rung, "for", causeTree(r.For)))
	}
	m = some(m, "remedies", rungs)
	dump := yaml.MapSlice{}
	if on := s.Dump.On; len(on) > 0 {
		dump = append(dump, yaml.MapItem{Key: "on", Value: causeTree(on)}, yaml.MapItem{Key: "format", Value: string(s.Dump.Format)})
		dump = append(dump, yaml.MapItem{Key: "timeout", Value: vm.Span(s.Dump.Timeout)})
	}
	if s.Dump.Core {
		dump = append(dump, yaml.MapItem{Key: "core", Value: true})
	}
	if len(dump) > 0 {
		m = append(m, yaml.MapItem{Key: "dump", Value: dump})
	}
	return m
}

func causeTree(all []vm.Cause) (out []any) {
	for _, c := range all {
		out = append(out, string(c))
	}
	return out
}

func seedTree(m yaml.MapSlice, s vm.Seed) yaml.MapSlice {
	var keys []any
	for _, k := range s.SSHKeys {
		keys = append(keys, k)
	}
	seed := some(said(nil, "hostname", s.Hostname), "sshKeys", keys)
	seed = said(said(seed, "userData", s.UserData), "network", s.Network)
	if len(seed) == 0 {
		return m
	}
	return append(m, yaml.MapItem{Key: "seed", Value: seed})
}
