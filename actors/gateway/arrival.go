package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/blixard/blixard/vm"
)

// A request takes a place only when it is there as a whole: one that is sent
// half and no further holds no place of others, and is given up soon. What has
// arrived of it is memory, and is bounded by itself.
type arrival struct {
	a       *admission
	u       *user
	trusted bool
	held    int // bytes
	whole   bool
}

// free is how much of a body costs nothing: most requests are smaller, and so
// are never in the way of those who send large ones.
const free = 4 << 10

// drainBody is what is read and thrown away of a body that is too large, so that
// its sender hears the refusal instead of a broken pipe.
const drainBody = 32 << 20

// arrive counts a request whose body is still to come; end lets go of it.
func (a *admission) arrive(uid int) (*arrival, *vm.Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, trusted := a.userOf(uid), a.trusts(uid)
	most := a.limits.ArrivingByUser
	if trusted {
		most *= trustedFactor
	}
	if u.arriving >= most {
		return nil, busy(fmt.Sprintf("%d requests of uid %d have not arrived as a whole, as many as may", u.arriving, uid))
	}
	u.arriving++
	return &arrival{a: a, u: u, trusted: trusted}, nil
}

// arrived says that the body is here; its bytes stay counted until the end.
func (r *arrival) arrived() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	if !r.whole {
		r.whole = true
		r.u.arriving--
	}
}

// end lets go of what the request holds. Doing it twice is harmless.
func (r *arrival) end() {
	r.arrived()
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.u.bytes -= r.held
	r.a.bytes -= r.held
	r.held = 0
}

// hold counts n bytes more, or says that there is no room for them: a user may
// fill a quarter of it, root and ourselves three.
func (r *arrival) hold(n int) bool {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	most := r.a.limits.Bodies / 4
	if r.trusted {
		most *= 3
	}
	if r.a.bytes+n > r.a.limits.Bodies || r.u.bytes+n > most {
		return false
	}
	r.held += n
	r.u.bytes += n
	r.a.bytes += n
	return true
}

// read takes the one message of a request before anything of it is parsed.
func (r *arrival) read(w http.ResponseWriter, req *http.Request) *vm.Refusal {
	defer r.arrived()
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(r.a.limits.Arrival)) // not every test's writer has one
	limit := r.a.limits.Body
	body := make([]byte, 0, min(free, limit+1))
	for {
		n, err := req.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case len(body) > limit:
			more, _ := io.Copy(io.Discard, io.LimitReader(req.Body, drainBody))
			return &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("the request has %d bytes, at most %d are read", int64(len(body))+more, limit),
				Try: "a spec is a few hundred bytes: name files by their path",
			}
		case err == io.EOF:
			_ = control.SetReadDeadline(time.Time{})
			req.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		case err != nil:
			return &vm.Refusal{
				Code: vm.Invalid, Why: fmt.Sprintf("the request's body broke off after %d bytes: %v", len(body), err),
				Try: fmt.Sprintf("send it whole, within %s", r.a.limits.Arrival),
			}
		case len(body) == cap(body):
			larger := min(2*cap(body), limit+1)
			if !r.hold(larger - cap(body)) {
				return busy(fmt.Sprintf("%d bytes of requests are here already, as many as have room", r.a.limits.Bodies))
			}
			body = append(make([]byte, 0, larger), body...)
		}
	}
}
