package gateway

import (
	"net/http"
	"time"
)

// writeTimeout is how long one write may wait for a client that doesn't read.
const writeTimeout = 30 * time.Second

// patient bounds each write, instead of the whole answer: streams live long,
// but a client that stands still must not hold its place for ever.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

func newPatient(w http.ResponseWriter) *patient {
	return &patient{ResponseWriter: w, control: http.NewResponseController(w)}
}

// Write writes within the limit.
func (p *patient) Write(b []byte) (int, error) {
	defer p.bound()()
	return p.ResponseWriter.Write(b)
}

// Flush flushes within the limit.
func (p *patient) Flush() {
	defer p.bound()()
	_ = p.control.Flush() // a broken connection shows at the next write
}

// bound sets the limit and returns what lifts it: over HTTP/2 a limit that is
// left standing ends an idle stream.
func (p *patient) bound() func() {
	_ = p.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return func() { _ = p.control.SetWriteDeadline(time.Time{}) }
}

// Unwrap lets an http.ResponseController through.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
