package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// differences tells, field by field in the words of a spec file, what b changes in
// a. Elements that have names are told by them, and what isn't set on one side is
// no difference to a default that isn't either.
func differences(a, b proto.Message) []string {
	before, after := flatten(a), flatten(b)
	var out []string
	moved := map[string]bool{} // lists that gained or lost a named element
	for _, side := range []struct {
		has, lacks *flat
		word       string
	}{{before, after, "removed"}, {after, before, "new"}} {
		for element, list := range side.has.elements {
			if _, ok := side.lacks.elements[element]; !ok {
				out, moved[list] = append(out, element+": "+side.word), true
				side.has.forget(element)
			}
		}
	}
	for path, was := range before.leaves {
		if is, ok := after.leaves[path]; !ok && !before.unset[path] {
			out = append(out, fmt.Sprintf("%s: %s -> gone", path, was))
		} else if ok && is != was {
			out = append(out, fmt.Sprintf("%s: %s -> %s", path, was, is))
		}
	}
	for path, is := range after.leaves {
		if _, ok := before.leaves[path]; !ok && !after.unset[path] {
			out = append(out, fmt.Sprintf("%s: new -> %s", path, is))
		}
	}
	for list, was := range before.order {
		if is, ok := after.order[list]; ok && is != was && !moved[list] {
			out = append(out, fmt.Sprintf("%s: in the order %s", list, is))
		}
	}
	slices.Sort(out)
	return out
}

// fields are what differences are in, each once.
func fields(of []string) []string {
	var out []string
	for _, one := range of {
		field, _, _ := strings.Cut(one, ": ")
		field, _, _ = strings.Cut(field, "[")
		out = append(out, field)
	}
	return slices.Compact(slices.Sorted(slices.Values(out)))
}

// flat is a message as the texts of its leaves by their paths.
type flat struct {
	leaves   map[string]string
	unset    map[string]bool   // leaves that have their type's zero value
	elements map[string]string // the path of an element with a name, and its list's
	order    map[string]string // the names in a list
}

func flatten(m proto.Message) *flat {
	out := &flat{leaves: map[string]string{}, unset: map[string]bool{}, elements: map[string]string{}, order: map[string]string{}}
	b, err := messages.JSON{}.Marshal(m)
	var tree any
	if err == nil {
		err = json.Unmarshal(b, &tree)
	}
	if err != nil {
		panic(fmt.Sprintf("gateway: a spec of ours has no JSON: %v", err))
	}
	out.add("", tree)
	return out
}

// forget drops the leaves of an element that is told of as a whole.
func (f *flat) forget(element string) {
	maps.DeleteFunc(f.leaves, func(path, _ string) bool { return strings.HasPrefix(path, element+".") })
}

func (f *flat) add(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			if path != "" {
				key = path + "." + key
			}
			f.add(key, one)
		}
	case []any:
		names := namesOf(path, v)
		if names != nil {
			f.order[path] = strings.Join(names, ", ")
		}
		for i, one := range v {
			at := fmt.Sprintf("%s[%d]", path, i)
			if names != nil {
				at = fmt.Sprintf("%s[%s]", path, names[i])
				f.elements[at] = path
			}
			f.add(at, one)
		}
	default:
		path, text := worded(path, v)
		f.leaves[path] = text
		f.unset[path] = v == nil || v == "" || v == 0.0 || v == false
	}
}

// namesOf are the names of a list's elements; nil where they don't tell them apart.
func namesOf(path string, list []any) []string {
	if path != "health" && path != "disks" {
		return nil
	}
	var out []string
	for _, one := range list {
		fields, _ := one.(map[string]any)
		name, _ := fields["name"].(string)
		if name == "" || slices.Contains(out, name) {
			return nil
		}
		out = append(out, name)
	}
	return out
}

// worded is a leaf as people write it: sizes and spans with their units.
func worded(path string, v any) (key, text string) {
	b, _ := json.Marshal(v) // it came from JSON
	last := path[strings.LastIndexByte(path, '.')+1:]
	switch v := v.(type) {
	case float64:
		if people, ok := strings.CutSuffix(path, "Bytes"); ok {
			return people, vm.Bytes(v).String()
		}
		if last == "cpuQuota" || path == "reclaim.keep" || path == "reclaim.idle.cpu" {
			return path, string(b) + "%"
		}
	case string:
		switch field, _, _ := strings.Cut(last, "["); field {
		case "initial", "max", "delays", "window", "resetAfter", "interval", "timeout", "after":
			if d, err := time.ParseDuration(v); err == nil {
				return path, vm.Span(d)
			}
		}
	}
	return path, string(b)
}
