package vm

import (
	"io"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// Visible returns b as text that no terminal interprets (P15): control
// characters in caret notation (^[ for escape, ^? for delete), C1 controls as
// M-^X whether they come as one byte's rune or not, bytes that are no UTF-8 as
// \xNN, and the runes that reorder or hide text as \u{NNNN}. Newline and tab
// stay. A carriage return right before a newline is left out, as consoles end
// lines by both.
func Visible(b []byte) []byte {
	out, rest := appendVisible(make([]byte, 0, len(b)+len(b)/8), b, true)
	_ = rest // nothing is held back at the end
	return out
}

// VisibleWriter writes what it gets to To as Visible shows it. A rune or a
// CR LF that is split between two writes comes out whole; Flush writes what is
// held back.
type VisibleWriter struct {
	To   io.Writer
	held []byte
}

// Write never says that it took less than all unless To failed.
func (w *VisibleWriter) Write(b []byte) (int, error) { return len(b), w.pass(b, false) }

// Flush shows the start of a rune that was never finished.
func (w *VisibleWriter) Flush() error { return w.pass(nil, true) }

func (w *VisibleWriter) pass(b []byte, last bool) error {
	in := append(w.held, b...)
	out, rest := appendVisible(nil, in, last)
	w.held = append([]byte(nil), rest...)
	if len(out) == 0 {
		return nil
	}
	_, err := w.To.Write(out)
	return err
}

// appendVisible returns what may only be shown when more is known; with last
// nothing is held back.
func appendVisible(out, b []byte, last bool) (shown, rest []byte) {
	for len(b) > 0 {
		if !last && (!utf8.FullRune(b) || len(b) == 1 && b[0] == '\r') {
			return out, b
		}
		if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			out = append(out, '\\', 'x', hexDigits[b[0]>>4], hexDigits[b[0]&15])
		} else {
			out = appendVisibleRune(out, r)
		}
		b = b[n:]
	}
	return out, nil
}

func appendVisibleRune(out []byte, r rune) []byte {
	switch {
	case r == '\n' || r == '\t':
		return append(out, byte(r))
	case r < 0x20 || r == 0x7f:
		return append(out, '^', byte(r)^0x40)
	case r >= 0x80 && r < 0xa0: // C1: 0x9b is a whole CSI for some terminals
		return append(out, 'M', '-', '^', byte(r-0x80)^0x40)
	case hides(r):
		out = append(out, '\\', 'u', '{')
		for shift := 16; shift >= 0; shift -= 4 {
			out = append(out, hexDigits[r>>shift&15])
		}
		return append(out, '}')
	}
	return utf8.AppendRune(out, r)
}

// hides tells of the runes that show other text than is there: bidirectional
// controls, zero-width ones, separators of lines, and tags.
func hides(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r == 0x061c, r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
		return true
	}
	return false
}
