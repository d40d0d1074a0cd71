package control

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"time"
)

// Server serves HTTP/1.1 and HTTP/2 without TLS on the socket.
type Server struct {
	http   *http.Server
	cancel context.CancelFunc
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
	s := &Server{cancel: cancel, http: &http.Server{
		Handler: h, Protocols: protocols, ErrorLog: complaints,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 256},
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: withPeer,
	}}
	if long, ok := h.(interface{ Close() }); ok {
		s.http.RegisterOnShutdown(long.Close)
	}
	return s
}

// Serve answers until Shutdown; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fail("serve the socket", err)
	}
	return nil
}

// Shutdown takes no more connections, lets requests end for up to a second,
// then ends the contexts of all that is left, and closes what doesn't heed that.
// It returns within ctx, and within two seconds in any case.
func (s *Server) Shutdown(ctx context.Context) {
	defer s.cancel()
	if s.within(ctx, grace) {
		return
	}
	s.cancel()
	if !s.within(ctx, grace/2) {
		_ = s.http.Close()
	}
}

func (s *Server) within(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return s.http.Shutdown(ctx) == nil
}
