package control

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server serves HTTP/1.1 and HTTP/2 without TLS on the socket.
type Server struct {
	http    *http.Server
	cancel  context.CancelFunc
	arrived *arrivals
	accept  sync.RWMutex // read-held while connections are accepted

	mu     sync.Mutex
	listen net.Listener // nil: not serving yet
	ending bool
}

const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	// grace is how long a request that is under way may take when we stop. An ask
	// is one synced write; a stream is told by its context.
	grace = time.Second
)

// NewServer makes a server. If h has a Close method, Shutdown calls it first, so
// that waits and streams can end with a word of their own. What the library complains of goes to complaints
// (nil: the standard logger). Bodies and answers have no time limit here, for
// streams live long: the gateway sets one for each request.
func NewServer(h http.Handler, complaints *log.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	arrived := &arrivals{all: map[net.Conn]struct{}{}}
	s := &Server{cancel: cancel, arrived: arrived, http: &http.Server{
		Handler: arrived.serve(h), Protocols: protocols, ErrorLog: complaints,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 256},
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: arrived.withConn, ConnState: arrived.changed,
	}}
	if long, ok := h.(interface{ Close() }); ok {
		s.http.RegisterOnShutdown(long.Close)
	}
	return s
}

// Serve answers until Shutdown; then it returns nil. It is called once.
func (s *Server) Serve(l net.Listener) error {
	s.accept.RLock()
	defer s.accept.RUnlock()
	if !s.begin(l) {
		_ = l.Close()
		return nil
	}
	err := s.http.Serve(l)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fail("serve the socket", err)
}

// begin is false where Shutdown came first.
func (s *Server) begin(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listen = l
	return !s.ending
}

// Shutdown takes no more connections, answers what those that it has taken ask
// next, lets requests end for up to a second, then ends the contexts of all
// that is left, and closes what doesn't heed that. It returns within ctx, and
// within two seconds in any case.
func (s *Server) Shutdown(ctx context.Context) {
	defer s.cancel()
	s.drain(ctx)
	if s.within(ctx, grace) {
		return
	}
	s.cancel()
	if !s.within(ctx, grace/4) {
		_ = s.http.Close()
	}
}

// drain returns when every accepted connection has brought its first request,
// or has had time enough to.
func (s *Server) drain(ctx context.Context) {
	s.mu.Lock()
	s.ending = true
	l := s.listen
	s.mu.Unlock()
	if l == nil {
		return
	}
	_ = l.Close() // the library's own Shutdown does it again, and harmlessly
	s.accept.Lock()
	s.accept.Unlock() //nolint:staticcheck // the wait is all: what was accepted is known from here on
	// A busy machine may let a caller sleep between its connect and its request.
	ctx, cancel := context.WithTimeout(ctx, grace/2)
	defer cancel()
	s.arrived.wait(ctx)
}

func (s *Server) within(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.http.Shutdown(ctx) == nil
}
