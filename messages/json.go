package messages

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

//go:generate go run ./gen

// JSON is the codec of the socket and of every `-o json`: the protobuf JSON
// mapping, with two differences that scripts are glad of. 64-bit integers are
// numbers, not strings (no size or counter of ours comes near 2^53), and every
// field shows, empty ones too: an optional one that is absent as null. What it writes, any protobuf JSON reader reads.
type JSON struct{ CodecName string }

// Name is "json", for content types; connect asks a second one for "json; charset=utf-8".
func (c JSON) Name() string {
	if c.CodecName == "" {
		return "json"
	}
	return c.CodecName
}

// IsBinary is false: an HTTP GET may carry it as it is.
func (JSON) IsBinary() bool { return false }

// Marshal writes compact JSON.
func (JSON) Marshal(m any) ([]byte, error) {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("marshal json: %T is no protobuf message", m)
	}
	b, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("marshal json: %w", err)
	}
	s := rewriter{in: b, out: make([]byte, 0, len(b))}
	s.value(msg.ProtoReflect().Descriptor(), false)
	return s.out, nil
}

// MarshalStable writes the same each time; it is compact already.
func (c JSON) MarshalStable(m any) ([]byte, error) { return c.Marshal(m) }

// Unmarshal reads protobuf JSON. An unknown field is an error: a misspelt one
// would be a wish that nobody hears.
func (JSON) Unmarshal(b []byte, m any) error {
	msg, ok := m.(proto.Message)
	if !ok {
		return fmt.Errorf("read json: %T is no protobuf message", m)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return fmt.Errorf("read json: the body is empty, it needs at least {}")
	}
	if err := protojson.Unmarshal(b, msg); err != nil {
		return fmt.Errorf("read json: %w", err)
	}
	return nil
}

// rewriter copies the JSON that protojson wrote, and so valid JSON: without
// white space (protojson varies it), and with bare 64-bit integers.
type rewriter struct {
	in, out []byte
	pos     int
}

// value copies one value: md is its message's descriptor (nil: not a message
// of ours), bare says that a string is a 64-bit integer.
func (r *rewriter) value(md protoreflect.MessageDescriptor, bare bool) {
	switch r.skip(); r.in[r.pos] {
	case '{':
		r.object(md, bare)
	case '[':
		r.list(md, bare)
	case '"':
		s := r.text()
		if bare {
			s = s[1 : len(s)-1]
		}
		r.out = append(r.out, s...)
	default:
		end := len(r.in) - r.pos
		if n := bytes.IndexAny(r.in[r.pos:], ",]} \n\t\r"); n >= 0 {
			end = n
		}
		r.out = append(r.out, r.in[r.pos:r.pos+end]...)
		r.pos += end
	}
}

func (r *rewriter) list(md protoreflect.MessageDescriptor, bare bool) {
	r.take('[')
	for r.more(']') {
		r.value(md, bare)
	}
}

// object copies a message or, where md is nil, a map's entries.
func (r *rewriter) object(md protoreflect.MessageDescriptor, bare bool) {
	r.take('{')
	said := map[string]bool{}
	for r.more('}') {
		key := r.text()
		said[string(key[1:len(key)-1])] = true
		r.out = append(r.out, key...)
		r.skip()
		r.take(':')
		if md == nil {
			r.value(nil, bare)
			continue
		}
		r.field(md.Fields().ByJSONName(string(key[1 : len(key)-1])))
	}
	if md != nil {
		r.absent(md, said)
	}
}

// absent adds the optional fields that were left out: protojson shows every
// empty field but these.
func (r *rewriter) absent(md protoreflect.MessageDescriptor, said map[string]bool) {
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if !fd.HasOptionalKeyword() || said[fd.JSONName()] {
			continue
		}
		r.out = r.out[:len(r.out)-1] // the end, which is copied already
		if r.out[len(r.out)-1] != '{' {
			r.out = append(r.out, ',')
		}
		r.out = fmt.Appendf(r.out, "%q:null}", fd.JSONName())
	}
}

func (r *rewriter) field(fd protoreflect.FieldDescriptor) {
	if fd == nil {
		r.value(nil, false)
		return
	}
	if fd.IsMap() {
		// The entries' values decide; a map of messages is walked entry by entry.
		fd = fd.MapValue()
		if fd.Message() != nil {
			r.entries(fd.Message())
			return
		}
		r.value(nil, is64(fd.Kind()))
		return
	}
	r.value(fd.Message(), is64(fd.Kind()))
}

func (r *rewriter) entries(md protoreflect.MessageDescriptor) {
	r.skip()
	r.take('{')
	for r.more('}') {
		r.out = append(r.out, r.text()...)
		r.skip()
		r.take(':')
		r.value(md, false)
	}
}

// more says whether another element follows, and copies the comma before it or the end.
func (r *rewriter) more(end byte) bool {
	r.skip()
	if r.in[r.pos] == ',' {
		r.take(',')
		r.skip()
	}
	if r.in[r.pos] == end {
		r.take(end)
		return false
	}
	return true
}

func (r *rewriter) take(c byte) {
	if r.in[r.pos] != c {
		panic(fmt.Sprintf("messages: protojson wrote %q where %q belongs", r.in[r.pos], c))
	}
	r.out = append(r.out, c)
	r.pos++
}

func (r *rewriter) skip() {
	for r.in[r.pos] == ' ' || r.in[r.pos] == '\n' || r.in[r.pos] == '\t' || r.in[r.pos] == '\r' {
		r.pos++
	}
}

// text returns the string at pos with its quotes, and goes behind it.
func (r *rewriter) text() []byte {
	r.skip()
	from := r.pos
	for r.pos++; r.in[r.pos] != '"'; r.pos++ {
		if r.in[r.pos] == '\\' {
			r.pos++
		}
	}
	r.pos++
	return r.in[from:r.pos]
}

func is64(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind,
		protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	default:
		return false
	}
}
