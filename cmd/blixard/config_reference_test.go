package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every key of the configuration file has its row in the reference, and no row
// names a key that isn't there.
func TestTheReferenceHasEveryKey(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	written, known := keysOfRows(string(page)), map[string]bool{}
	for _, key := range keysOf(reflect.TypeFor[config](), "") {
		known[key] = true
		if !written[key] {
			t.Errorf("docs/configuration.md has no row for %s", key)
		}
	}
	for key := range written {
		if !known[key] {
			t.Errorf("docs/configuration.md has a row for %s, which is no key", key)
		}
	}
}

// keysOf are the leaves of a struct: what has a reader of its own, is a map, or
// is a mark of an alert is one.
func keysOf(t reflect.Type, under string) []string {
	var out []string
	for f := range t.Fields() {
		tag := f.Tag.Get("yaml")
		if tag == "" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		_, reads := reflect.PointerTo(inner).MethodByName("UnmarshalText")
		switch {
		case inner.Kind() == reflect.Slice:
			out = append(out, under+tag+"[]")
		case inner.Kind() == reflect.Struct && !reads && inner != reflect.TypeFor[markConfig]():
			out = append(out, keysOf(inner, under+tag+".")...)
		default:
			out = append(out, under+tag)
		}
	}
	return out
}

var quoted = regexp.MustCompile("`([^`]+)`")

// keysOfRows reads the first column of the daemon's table: `a.b`, `.c` are a.b and a.c.
func keysOfRows(page string) map[string]bool {
	daemon, _, _ := strings.Cut(page, "\n# ")
	out := map[string]bool{}
	for line := range strings.Lines(daemon) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		first := strings.Split(line, "|")[1]
		before := ""
		for _, m := range quoted.FindAllStringSubmatch(first, -1) {
			key := m[1]
			if strings.HasPrefix(key, ".") {
				key = before[:strings.LastIndexByte(before, '.')] + key
			}
			out[key], before = true, key
		}
	}
	return out
}
