package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// differences tells, field by field in the words of a spec file, what b changes in a.
func differences(a, b proto.Message) []string {
	before, after := flatten(a), flatten(b)
	var out []string
	for path, was := range before {
		if is, ok := after[path]; !ok {
			out = append(out, fmt.Sprintf("%s: %s -> gone", path, was))
		} else if is != was {
			out = append(out, fmt.Sprintf("%s: %s -> %s", path, was, is))
		}
	}
	for path, is := range after {
		if _, ok := before[path]; !ok {
			out = append(out, fmt.Sprintf("%s: new -> %s", path, is))
		}
	}
	slices.Sort(out)
	return out
}

func flatten(m proto.Message) map[string]string {
	out := map[string]string{}
	b, err := messages.JSON{}.Marshal(m)
	var tree any
	if err == nil {
		err = json.Unmarshal(b, &tree)
	}
	if err != nil {
		panic(fmt.Sprintf("gateway: a spec of ours has no JSON: %v", err))
	}
	leaves(out, "", tree)
	return out
}

func leaves(to map[string]string, path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			if path != "" {
				key = path + "." + key
			}
			leaves(to, key, one)
		}
	case []any:
		for i, one := range v {
			leaves(to, fmt.Sprintf("%s[%d]", path, i), one)
		}
	default:
		path, text := worded(path, v)
		to[path] = text
	}
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
