package main

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// key is one key: the character that it types, or one of the names below.
type key string

// The keys that type nothing.
const (
	keyUp        key = "up"
	keyDown      key = "down"
	keyPageUp    key = "page-up"
	keyPageDown  key = "page-down"
	keyHome      key = "home"
	keyEnd       key = "end"
	keyEnter     key = "enter"
	keyEscape    key = "escape"
	keyBackspace key = "backspace"
	keyInterrupt key = "interrupt" // Ctrl-C: in raw mode it is a key
	keySuspend   key = "suspend"   // Ctrl-Z
	keyRedraw    key = "redraw"    // Ctrl-L
	keyUnknown   key = "unknown"
)

// sequences are what terminals send, in both modes of their cursor keys.
var sequences = map[string]key{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[5~": keyPageUp, "[6~": keyPageDown,
	"[H": keyHome, "OH": keyHome, "[1~": keyHome, "[7~": keyHome, "[F": keyEnd, "OF": keyEnd, "[4~": keyEnd, "[8~": keyEnd,
}

var controls = map[byte]key{
	'\r': keyEnter, '\n': keyEnter, 0x7f: keyBackspace, 0x08: keyBackspace, 0x03: keyInterrupt, 0x1a: keySuspend, 0x0c: keyRedraw,
}

// longestSequence bounds what is kept of one that doesn't end.
const longestSequence = 16

// keyReader takes the bytes of a terminal apart. A sequence may come in pieces.
type keyReader struct{ left []byte }

// feed returns the keys that are whole.
func (r *keyReader) feed(b []byte) []key {
	r.left = append(r.left, b...)
	var out []key
	for len(r.left) > 0 {
		k, n := keyOf(r.left)
		if n == 0 {
			break
		}
		out, r.left = append(out, k), r.left[n:]
	}
	return out
}

// flush ends the wait for the rest of a sequence: a lone Esc is a key.
func (r *keyReader) flush() []key {
	if len(r.left) == 0 {
		return nil
	}
	k := keyUnknown
	if bytes.Equal(r.left, []byte{0x1b}) {
		k = keyEscape
	}
	r.left = nil
	return []key{k}
}

// keyOf is the first key and its length; 0: more bytes are needed.
func keyOf(b []byte) (key, int) {
	switch {
	case b[0] == 0x1b:
		return escaped(b)
	case controls[b[0]] != "":
		return controls[b[0]], 1
	case b[0] < ' ':
		return keyUnknown, 1
	case !utf8.FullRune(b):
		return "", 0
	}
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError {
		return keyUnknown, n
	}
	return key(b[:n]), n
}

// escaped reads Esc [ … final, and Esc O final.
func escaped(b []byte) (key, int) {
	switch {
	case len(b) == 1:
		return "", 0
	case b[1] != '[' && b[1] != 'O':
		return keyEscape, 1
	case len(b) > 2 && b[1] == 'O':
		return keyNamed(string(b[1:3])), 3
	}
	end := bytes.IndexFunc(b[2:], func(r rune) bool { return r >= '@' && r <= '~' })
	switch {
	case end >= 0:
		return keyNamed(string(b[1 : end+3])), end + 3
	case len(b) > longestSequence:
		return keyUnknown, len(b)
	}
	return "", 0
}

// keyNamed is the key of a sequence, without the modifiers that it may carry.
func keyNamed(sequence string) key {
	if k, ok := sequences[sequence]; ok {
		return k
	}
	if i := strings.IndexByte(sequence, ';'); i > 0 { // [1;5A: Ctrl-Up
		last := sequence[len(sequence)-1:]
		if k, ok := sequences["["+last]; ok {
			return k
		}
		if k, ok := sequences[sequence[:i]+last]; ok {
			return k
		}
	}
	return keyUnknown
}
