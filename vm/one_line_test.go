package vm

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// What a guest, a VMM or a library said is shown in many places; this is the
// one that makes it harmless.
func TestOneLineOfAnybodyIsOneHarmlessLine(t *testing.T) {
	for story, c := range map[string]struct {
		in   string
		most int
		want string
	}{
		"plain text":               {"login: ", 0, "login:"},
		"empty":                    {"", 10, ""},
		"lines, tabs and margins":  {"  one\n\ttwo\r\nthree  ", 0, "one two three"},
		"a carriage return alone":  {"denied\rgranted", 0, "denied^Mgranted"},
		"escapes":                  {"\x1b[2J\x1b]0;mine\x07x", 0, "^[[2J^[]0;mine^Gx"},
		"C1":                       {"a\u009b2J", 0, "aM-^[2J"},
		"NUL":                      {"a\x00b", 0, "a^@b"},
		"bidi marks":               {"a\u202eb\u2066c\u200fd", 0, `a\u{0202e}b\u{02066}c\u{0200f}d`},
		"a separator of lines":     {"a\u2028b", 0, `a\u{02028}b`},
		"a space that isn't one":   {"a\u00a0\u3000b", 0, "a b"},
		"no UTF-8":                 {"caf\xc3", 0, `caf\xc3`},
		"as long as it may be":     {"12345678", 8, "12345678"},
		"too long":                 {"123456789", 8, "12345…"},
		"longer by what is shown":  {"\x00\x00\x00\x00\x00", 8, "^@^@^…"},
		"cut between runes":        {"ääääääää", 8, "ää…"},
		"far too long":             {strings.Repeat("x", 1<<20), 8, "xxxxx…"},
		"text behind white space":  {strings.Repeat(" ", 100) + "x", 8, "…"},
		"all of what is very long": {strings.Repeat("x ", 1000), 0, strings.TrimSpace(strings.Repeat("x ", 1000))},
	} {
		if got := OneLine(c.in, c.most); got != c.want {
			t.Errorf("%s: %.60q became %q, want %q", story, c.in, got, c.want)
		}
	}
}

func FuzzOneLine(f *testing.F) {
	f.Add("\x1b[31m\r\n\u202e\xff", 7)
	f.Fuzz(func(t *testing.T, in string, most int) {
		most = min(max(most, 4), 4096)
		out := OneLine(in, most)
		if len(out) > most || !utf8.ValidString(out) || strings.ContainsAny(out, "\n\r\t") || string(Visible([]byte(out))) != out {
			t.Fatalf("%q became %q, of at most %d bytes", in, out, most)
		}
	})
}

func TestCutKeepsRunesWhole(t *testing.T) {
	for in, want := range map[string]string{"short": "short", "just right": "just right", "too long by far": "too lon…", "größer als zehn": "größe…"} {
		if got := Cut(in, 10); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	if got := Cut("all", 0); got != "all" {
		t.Error(got)
	}
}
