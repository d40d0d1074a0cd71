package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

// Config is what the door stands on.
type Config struct {
	Node     Node
	Journal  Journal
	Consoles Consoles
	Bundles  host.Bundles // nil: of a death nothing is kept but its record
	Paths    func(vm.Ref) host.Paths
	Roles    Roles
	Limits   Limits
	Log      *zap.Logger
	Metrics  http.Handler     // for GET /metrics; nil: none
	Now      func() time.Time // nil: the machine's clock
}

// Door answers on the socket. Whoever serves it puts each connection's peer
// into the context (messages.WithPeer); a request without one has no role.
//
//	role, rate, size, concurrency ──▶ Connect ──▶ Node, Journal, Consoles
type Door struct {
	Config
	rpc       http.Handler
	errors    *connect.ErrorWriter
	admission *admission
	closing   chan struct{}
	closed    sync.Once
}

var _ blixardv1connect.NodeHandler = (*Door)(nil)

// New makes the door.
func New(c Config) *Door {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	d := &Door{
		Config: c, errors: connect.NewErrorWriter(), admission: newAdmission(c.Limits, c.Roles.Self), closing: make(chan struct{}),
	}
	_, d.rpc = blixardv1connect.NewNodeHandler(d,
		connect.WithCodec(messages.JSON{}), connect.WithCodec(messages.JSON{CodecName: "json; charset=utf-8"}),
		connect.WithCompression("gzip", nil, nil), // the other end is this machine, and each writer holds a megabyte
		connect.WithReadMaxBytes(d.admission.limits.Body),
		connect.WithInterceptors(connect.UnaryInterceptorFunc(d.refuseErrors)), connect.WithRecover(d.panicked),
	)
	return d
}

// Close ends all waits and streams, each with a refusal that says why, so that
// the server can shut down. Doing it twice is harmless.
func (d *Door) Close() { d.closed.Do(func() { close(d.closing) }) }

var stopping = &vm.Refusal{Code: vm.Unavailable, Why: "the daemon is stopping; its VMs are left alone", Try: "again when it is back"}

const help = `This is the socket of a Blixard node.
  blixard --help
  curl --unix-socket SOCKET -H 'Content-Type: application/json' -d '{}' http://localhost/blixard.v1.Node/ListVMs
  curl --unix-socket SOCKET http://localhost/metrics
`

// ServeHTTP admits the request and answers it.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, rpc := strings.CutPrefix(r.URL.Path, service)
	m, known := methods[name]
	switch {
	case r.URL.Path == "/metrics" && d.Metrics != nil:
		name, m = "/metrics", method{role: messages.Viewer}
	case r.URL.Path == "/" && r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, help)
		return
	case !rpc || !known:
		d.refuse(w, r, &vm.Refusal{
			Code: vm.NotFound, Why: fmt.Sprintf("nothing answers at %.80q", r.URL.Path), Try: "GET / for what there is",
		})
		return
	}
	caller := d.caller(r)
	if no := allow(caller, name, m); no != nil {
		d.Log.Warn("denied", zap.String("method", name), zap.Stringer("by", caller), zap.Stringer("role", caller.Role))
		d.refuse(w, r, no)
		return
	}
	arrival, no := d.admission.arrive(caller.UID)
	if no != nil {
		d.refuse(w, r, no)
		return
	}
	defer arrival.end()
	if no = d.admission.pace(r.Context(), arrival.u); no == nil && m.kind != twoWay {
		no = arrival.read(w, r)
	}
	arrival.arrived()
	if no != nil {
		d.refuse(w, r, no)
		return
	}
	leave, no := d.admission.enter(r.Context(), caller.UID, m.kind)
	if no != nil {
		d.refuse(w, r, no)
		return
	}
	defer leave()
	w, r = newPatient(w), r.WithContext(withCaller(r.Context(), caller))
	if !rpc {
		d.Metrics.ServeHTTP(w, r)
		return
	}
	d.rpc.ServeHTTP(w, r)
}

var clientName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,39}$`)

// caller is the peer with its role. Its name is its own word, so it is bounded
// and can't forge a line of the journal.
func (d *Door) caller(r *http.Request) messages.Caller {
	p, ok := messages.PeerFrom(r.Context())
	if !ok {
		return messages.Caller{UID: -1, GID: -1}
	}
	c := p.Caller
	c.Role = d.Roles.Of(p)
	if name := r.Header.Get(messages.ClientHeader); clientName.MatchString(name) {
		c.Name = name
	}
	return c
}

// refuse answers in the protocol that the request speaks.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, no *vm.Refusal) {
	if err := d.errors.Write(w, r, messages.RefusalToError(no)); err != nil {
		d.Log.Debug("refusal not delivered", zap.Error(err))
	}
}

// refuseErrors turns what a method returned into what travels to that caller.
func (d *Door) refuseErrors(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		if err != nil {
			return nil, d.wireError(req.Spec().Procedure, err)
		}
		if m, ok := res.Any().(proto.Message); ok {
			forCaller(ctx, m)
		}
		return res, nil
	}
}

func (d *Door) wireError(procedure string, err error) error {
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*vm.Refusal](err); ok {
		return messages.RefusalToError(r)
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return messages.RefusalToError(&vm.Refusal{Code: vm.TimedOut, Why: "the node did not answer in time", Try: "blixard node status"})
	}
	d.Log.Error("request failed", zap.String("method", procedure), zap.Error(err))
	return messages.RefusalToError(&vm.Refusal{
		Code: vm.Internal, Why: fmt.Sprintf("the node could not do it: %v", err), Try: "blixard node doctor, and the daemon's log",
	})
}

// panicked answers for a bug of ours; the daemon and all other requests go on.
func (d *Door) panicked(_ context.Context, spec connect.Spec, _ http.Header, p any) error {
	d.Log.Error("panic in a request", zap.String("method", spec.Procedure), zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
	return messages.RefusalToError(&vm.Refusal{
		Code: vm.Internal, Why: "a bug of the node's: the request was given up", Try: "the daemon's log has the place; please report it",
	})
}
