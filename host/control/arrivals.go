package control

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// arrivals are the connections that were accepted and have sent no request yet.
// The library drops these at its Shutdown, also where the request is on its way:
// that caller would see an end of file instead of an answer.
type arrivals struct {
	mu   sync.Mutex
	all  map[net.Conn]struct{}
	none chan struct{} // closed when all is empty; nil: nobody waits
}

func (a *arrivals) enter(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[c] = struct{}{}
}

// leave is called with the first request, and at the connection's end.
func (a *arrivals) leave(c net.Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, c)
	if len(a.all) == 0 && a.none != nil {
		close(a.none)
		a.none = nil
	}
}

// wait returns when there are none; no new ones may come meanwhile.
func (a *arrivals) wait(ctx context.Context) {
	a.mu.Lock()
	if len(a.all) == 0 {
		a.mu.Unlock()
		return
	}
	if a.none == nil {
		a.none = make(chan struct{})
	}
	none := a.none
	a.mu.Unlock()
	select {
	case <-none:
	case <-ctx.Done():
	}
}

// arrivalKey holds a request's connection.
type arrivalKey struct{}

func (a *arrivals) withConn(ctx context.Context, c net.Conn) context.Context {
	a.enter(c)
	return context.WithValue(withPeer(ctx, c), arrivalKey{}, c)
}

func (a *arrivals) changed(c net.Conn, s http.ConnState) {
	if s == http.StateClosed || s == http.StateHijacked {
		a.leave(c)
	}
}

// serve is h, and takes note of each request.
func (a *arrivals) serve(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(arrivalKey{}).(net.Conn); ok {
			a.leave(c)
		}
		h.ServeHTTP(w, r)
	})
}
