package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/vm"
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

// Every key of a spec stands in a row of the reference: as the row's own key, or
// in the text of a row that is above it. The file knows one key that a spec doesn't.
func TestTheReferenceHasEveryKeyOfASpec(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, specs, _ := strings.Cut(string(page), "\n# ")
	rows := rowsOf(specs)
	leaves := append(leavesOf(reflect.TypeFor[vm.Spec](), ""), "health.startup")
	for _, leaf := range leaves {
		last := leaf[strings.LastIndexByte(leaf, '.')+1:]
		told := false
		for key, text := range rows {
			told = told || key == leaf || strings.HasPrefix(leaf, key+".") && regexp.MustCompile(`\b`+last+`\b`).MatchString(text)
		}
		if !told {
			t.Errorf("docs/configuration.md has no row for %s", leaf)
		}
	}
	for key := range rows {
		if !slices.ContainsFunc(leaves, func(leaf string) bool { return leaf == key || strings.HasPrefix(leaf, key+".") }) {
			t.Errorf("docs/configuration.md has a row for %s, which is no key of a spec", key)
		}
	}
}

// leavesOf are the keys below a type without the brackets of lists; of a header,
// the person chooses the key.
func leavesOf(of reflect.Type, under string) (out []string) {
	for of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || of == reflect.TypeFor[vm.Header]() {
		return []string{strings.TrimPrefix(under, ".")}
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out = append(out, leavesOf(f.Type, under+"."+name)...)
	}
	return out
}

// rowsOf are the rows of all tables of a page, by each key in their first column.
func rowsOf(page string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		before := ""
		for _, m := range quoted.FindAllStringSubmatch(strings.Split(line, "|")[1], -1) {
			key := strings.ReplaceAll(m[1], "[]", "")
			if strings.HasPrefix(key, ".") {
				key = before[:strings.LastIndexByte(before, '.')] + key
			}
			out[key], before = line, key
		}
	}
	return out
}

// What the reference shows as a file is one.
func TestTheReferencesExamplesAreRead(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, specs, _ := strings.Cut(string(page), "\n# ")
	whole := "name: web\nboot: {disk: /srv/debian.qcow2}\n"
	for _, part := range strings.Split(specs, "```yaml\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		whole += strings.ReplaceAll(text, "…", "")
	}
	read, err := specfile.Parse(strings.NewReader(whole), "configuration.md")
	if err != nil {
		t.Fatalf("%v of\n%s", err, whole)
	}
	if s := read[0]; len(s.Health) != 7 || len(s.Remedies) != 5 || len(s.Dump.On) != 1 || s.Seed.UserData == "" {
		t.Errorf("%+v", s)
	}
}
