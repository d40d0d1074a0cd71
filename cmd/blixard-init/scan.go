package main

// maxRequest bounds one request of the host.
const maxRequest = 64 << 10

// resync is the byte that no UTF-8 text holds: it ends whatever came before it,
// and stands before the answer to guest-sync-delimited.
const resync = 0xff

// scanner cuts a stream of bytes into JSON objects. It needs no line ends, as
// the protocol promises none.
type scanner struct {
	buf     []byte
	depth   int
	quoted  bool
	escaped bool
	skip    bool // the rest of an object that is too long
}

// feed hands every whole object to each. What is no object is dropped.
func (s *scanner) feed(chunk []byte, each func(object []byte)) {
	for _, c := range chunk {
		if c == resync {
			*s = scanner{buf: s.buf[:0]}
			continue
		}
		if s.depth == 0 && c != '{' {
			continue
		}
		if len(s.buf) < maxRequest {
			s.buf = append(s.buf, c)
		} else {
			s.skip = true
		}
		s.step(c)
		if s.depth == 0 {
			if !s.skip {
				each(s.buf)
			}
			*s = scanner{buf: s.buf[:0]}
		}
	}
}

func (s *scanner) step(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted && c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = !s.quoted
	case s.quoted:
	case c == '{':
		s.depth++
	case c == '}':
		s.depth--
	}
}
