package systemd

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blixard/blixard/host"
)

// pathsOf is every path that the command names.
func pathsOf(c host.Command) []string {
	out := append([]string{c.Dir}, c.Needs.Writable...)
	for _, word := range c.Argv {
		out = append(out, paths(word)...)
	}
	return out
}

// paths are the absolute paths in one argument of a command line: a path alone,
// whatever bytes are in it, an object of JSON, or options as QEMU reads them, in
// which a comma of a path is doubled: "socket,id=a,logfile=/a,,b,server=on".
func paths(word string) []string {
	var found []string
	take := func(s string) {
		if filepath.IsAbs(s) {
			found = append(found, filepath.Clean(s))
		}
	}
	var object map[string]any
	switch {
	case filepath.IsAbs(word):
		take(word)
	case strings.HasPrefix(word, "{") && json.Unmarshal([]byte(word), &object) == nil:
		inJSON(object, take)
	default:
		for _, option := range options(word) {
			name, value, _ := strings.Cut(option, "=")
			take(name)
			take(value)
		}
	}
	return found
}

func inJSON(v any, take func(string)) {
	switch v := v.(type) {
	case string:
		take(v)
	case []any:
		for _, one := range v {
			inJSON(one, take)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) { // the same command gives the same unit
			inJSON(v[key], take)
		}
	}
}

// options splits at single commas; two stand for one.
func options(word string) []string {
	const comma = "\x00" // in no argument of a program
	out := strings.Split(strings.ReplaceAll(word, ",,", comma), ",")
	for i, s := range out {
		out[i] = strings.ReplaceAll(s, comma, ",")
	}
	return out
}
