package vm

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestVisibleLeavesNothingForATerminalToObey(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain text":            {"Linux 6.1 boots\n\tok", "Linux 6.1 boots\n\tok"},
		"colour":                {"\x1b[31mred\x1b[0m", "^[[31mred^[[0m"},
		"title and clipboard":   {"\x1b]52;c;ZWNobw==\x07", "^[]52;c;ZWNobw==^G"},
		"null and delete":       {"a\x00b\x7f", "a^@b^?"},
		"C1 as one byte":        {"\x9b31m", `\x9b31m`},
		"C1 as a rune":          {"\u009b31m", "M-^[31m"},
		"line ends of consoles": {"one\r\ntwo\r\n", "one\ntwo\n"},
		"overwriting a line":    {"denied\rgranted", "denied^Mgranted"},
		"carriage at the end":   {"a\r", "a^M"},
		"cut rune":              {"caf\xc3", `caf\xc3`},
		"overlong":              {"\xc0\xaf", `\xc0\xaf`},
		"surrogate":             {"\xed\xa0\x80", `\xed\xa0\x80`},
		"good UTF-8":            {"größer ✓ 日本", "größer ✓ 日本"},
		"reordered text":        {"a\u202eb", `a\u{0202e}b`},
		"the rune for errors":   {"\ufffd", "\ufffd"},
	} {
		if got := string(Visible([]byte(c.in))); got != c.want {
			t.Errorf("%s: %q became %q, want %q", name, c.in, got, c.want)
		}
	}
}

func TestVisibleWriterDoesNotCareWhereTheStreamIsCut(t *testing.T) {
	in := []byte("one\r\ntwo\rö✓\x1b[2J\xc3")
	want := string(Visible(in))
	for cut := range in {
		var out strings.Builder
		w := &VisibleWriter{To: &out}
		for _, part := range [][]byte{in[:cut], in[cut:]} {
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatalf("cut at %d: wrote %d of %d: %v", cut, n, len(part), err)
			}
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("cut at %d: got %q, want %q", cut, out.String(), want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, s := range []string{"", "\x1b[31m", "\xc2\x9b", "a\r\nb", "\xff\xfe", "\u202e"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut int) {
		out := Visible(in)
		if !utf8.Valid(out) {
			t.Fatalf("%q became no UTF-8: %q", in, out)
		}
		for _, r := range string(out) {
			if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || hides(r) {
				t.Fatalf("%q kept %U: %q", in, r, out)
			}
		}
		if len(out) > 9*len(in) {
			t.Fatalf("%d bytes became %d", len(in), len(out))
		}
		if cut < 0 || cut > len(in) {
			return
		}
		var buf bytes.Buffer
		w := &VisibleWriter{To: &buf}
		_, _ = w.Write(in[:cut])
		_, _ = w.Write(in[cut:])
		_ = w.Flush()
		if !bytes.Equal(buf.Bytes(), out) {
			t.Fatalf("cut at %d of %q: %q, in one piece %q", cut, in, buf.Bytes(), out)
		}
	})
}
