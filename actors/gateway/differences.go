package gateway

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages"
)

// differences tells, field by field in the words of the JSON, what b changes in a.
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
		b, _ := json.Marshal(v) // it came from JSON
		to[path] = string(b)
	}
}
