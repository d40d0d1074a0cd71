package gateway

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

var someTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// world is a node, a journal and consoles in memory.
type world struct {
	mu      sync.Mutex
	vms     map[vm.Name]vm.Record
	changed chan struct{}
	asks    []messages.Ask
	refuse  error // what Ask and Create answer
	panics  bool
	stuck   chan struct{} // not nil: Ask waits for it
	callers []string      // of what concerns the whole node
	began   chan struct{} // not nil: closed when Repair begins, which then waits for goOn
	goOn    chan error

	entries []vm.Entry
	grew    chan struct{}
	crashes []vm.Crash

	files map[string][]byte
	taken map[string]func([]byte)
	dial  io.ReadWriteCloser
}

func newWorld(records ...vm.Record) *world {
	w := &world{
		vms: map[vm.Name]vm.Record{}, changed: make(chan struct{}), grew: make(chan struct{}), files: map[string][]byte{},
		taken: map[string]func([]byte){},
	}
	for _, r := range records {
		w.vms[r.Spec.Name] = r
	}
	return w
}

func record(name vm.Name, p vm.Phase) vm.Record {
	return vm.Record{
		ID: vm.ID("uid-" + string(name)), Spec: vm.Spec{Name: name}.Filled(),
		State: vm.State{Phase: p, Revision: 5, Incarnation: 1, Intent: vm.WantRunning, PhaseSince: someTime, CreatedAt: someTime},
	}
}

// change puts a record in its place and wakes who waits.
func (w *world) change(name vm.Name, f func(*vm.Record)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.vms[name]
	f(&r)
	w.vms[name] = r
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) remove(name vm.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.vms, name)
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) Create(_ context.Context, c messages.Create) (vm.Record, error) {
	if w.refuse != nil {
		return vm.Record{}, w.refuse
	}
	if _, taken := w.Get(c.Spec.Name); taken {
		return vm.Record{}, &vm.Refusal{Code: vm.Exists, Why: "taken"}
	}
	r := vm.Record{ID: "new", Spec: c.Spec, State: vm.State{Phase: vm.Stopped, Revision: 1}}
	w.change(c.Spec.Name, func(to *vm.Record) { *to = r })
	return r, nil
}

func (w *world) Ask(ctx context.Context, name vm.Name, a messages.Ask) (vm.Record, error) {
	if w.panics {
		panic("a bug")
	}
	if w.stuck != nil {
		select {
		case <-w.stuck:
		case <-ctx.Done():
			return vm.Record{}, ctx.Err()
		}
	}
	r, ok := w.Get(name)
	if !ok {
		return vm.Record{}, noSuchVM(name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks = append(w.asks, a)
	if a.Spec != nil {
		r.Spec = *a.Spec
		w.vms[name] = r
	}
	return r, w.refuse
}

func (w *world) Exec(_ context.Context, _ vm.Name, argv []string) (host.ExecResult, error) {
	return host.ExecResult{Code: 3, Stdout: []byte("\x1b[2J" + argv[0]), Stderr: []byte{0xff}, Truncated: true}, nil
}

func (w *world) Dump(_ context.Context, _ vm.Name, format vm.DumpFormat, _ messages.Caller) (string, vm.Bytes, error) {
	return "/state/vms/web/memory." + string(format), vm.MiB, nil
}

func (w *world) Missed(vm.ID) map[uint64]string {
	return map[uint64]string{2: "it died faster than its evidence is written"}
}

func (w *world) BundleQuota() vm.BundleQuota {
	return vm.BundleQuota{Node: vm.GiB, VM: 256 * vm.MiB, Count: 20}
}

func (w *world) Get(name vm.Name) (vm.Record, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.vms[name]
	return r, ok
}

func (w *world) List() []vm.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []vm.Record
	for _, r := range w.vms {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b vm.Record) int { return strings.Compare(string(a.Spec.Name), string(b.Spec.Name)) })
	return out
}

func (w *world) Changed(vm.Name) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) Tree() []Actor { return []Actor{{Path: "root", State: "running"}} }
func (w *world) Status() Status {
	return Status{
		Version: "v0-test", BootID: "boot", Broken: []string{"\xff"}, SafeMode: "damaged", Waiting: 1,
		Bootstrap: Bootstrap{
			State: "running", BootID: "boot", Policy: "manual", StartedAt: someTime, Limit: 2, Ready: 1,
			Waiting: []vm.Name{"db"}, Starting: []vm.Name{"web"},
		},
	}
}

func (w *world) Doctor(context.Context) []Finding { return []Finding{{Check: "kvm", State: "warn"}} }

// journal is the world's other face: its Changed is another one.
type journal struct{ *world }

func (j journal) Changed() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.grew
}

func (j journal) Events(after uint64, limit int) ([]vm.Entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	rest := j.entries[min(after, uint64(len(j.entries))):]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (j journal) LastEvent() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return uint64(len(j.entries))
}

func (j journal) Crashes(_ vm.ID, limit int) ([]vm.Crash, error) {
	return j.crashes[:min(limit, len(j.crashes))], nil
}

func (j journal) Note(e vm.Entry) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.Sequence = uint64(len(j.entries)) + 1
	j.entries = append(j.entries, e)
	close(j.grew)
	j.grew = make(chan struct{})
	return e.Sequence, nil
}

// Follow, Tail and Dial are the consoles'.
func (w *world) Follow(f host.Paths, offset int64, chunk func([]byte)) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.files[f.Log]
	if !ok {
		return nil, host.Fail(host.Gone, "open console", os.ErrNotExist)
	}
	if int(offset) < len(b) {
		chunk(bytes.Clone(b[offset:]))
	}
	w.taken[f.Log] = chunk
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.taken, f.Log)
	}, nil
}

func (*world) Type(context.Context, host.Paths, string) error { return nil }

func (w *world) Tail(f host.Paths, n int) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.files[f.Log]
	if !ok {
		return nil, host.Fail(host.Gone, "open console", os.ErrNotExist)
	}
	return bytes.Clone(b[max(0, len(b)-n):]), nil
}

func (w *world) Dial(context.Context, host.Paths) (io.ReadWriteCloser, error) {
	if w.dial == nil {
		return nil, host.Fail(host.Gone, "dial console", os.ErrNotExist)
	}
	return w.dial, nil
}

// write appends to the console of an incarnation; quiet: its follower isn't told.
func (w *world) write(path, s string, quiet bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.files[path] = append(w.files[path], s...)
	if f := w.taken[path]; f != nil && !quiet {
		f([]byte(s))
	}
}

func (w *world) door(t testing.TB, more ...func(*Config)) *Door {
	c := Config{
		Node: w, Journal: journal{w}, Consoles: w, Log: zaptest.NewLogger(t),
		Paths:   func(r vm.Ref) host.Paths { return host.NewPaths("/s", "/r", r) },
		Roles:   Roles{Self: -2, Users: map[int]messages.Role{1: messages.Viewer, 2: messages.Operator}, Groups: map[int]messages.Role{30: messages.Admin}},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "blixard_vms 1\n") }),
		Now:     func() time.Time { return someTime },
	}
	for _, f := range more {
		f(&c)
	}
	return New(c)
}

// socket serves the door as the daemon does, with the peer given.
func socket(t testing.TB, d *Door, p *messages.Peer) (*http.Client, blixardv1connect.NodeClient) {
	t.Helper()
	return dialAt(serve(t, d, p))
}

func dialAt(path string) (*http.Client, blixardv1connect.NodeClient) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}
	plain := &http.Client{Transport: &http.Transport{DialContext: dial}}
	h2 := &http.Client{Transport: &http.Transport{DialContext: dial, Protocols: h2c(false)}}
	return plain, blixardv1connect.NewNodeClient(h2, "http://node")
}

func serve(t testing.TB, d *Door, p *messages.Peer) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: d, Protocols: h2c(true), ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		if p == nil {
			return ctx
		}
		return messages.WithPeer(ctx, *p)
	}}
	done := make(chan struct{})
	go func() { _ = server.Serve(l); close(done) }()
	t.Cleanup(func() { d.Close(); _ = server.Close(); <-done; _ = os.RemoveAll(dir) })
	return path
}

func h2c(both bool) *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(both)
	p.SetUnencryptedHTTP2(true)
	return p
}

func peer(uid int, groups ...int) *messages.Peer {
	return &messages.Peer{Caller: messages.Caller{UID: uid, GID: uid, PID: 4711}, Groups: groups}
}

func fakePlan(state string) Plan {
	return Plan{At: someTime, Actions: []Action{{ID: "a", Do: "kill", What: "\xff", VM: "web", Why: "because", State: state}}}
}

func (w *world) Plan(context.Context, bool) (Plan, error) { return fakePlan("person"), nil }

func (w *world) ApplyPlan(_ context.Context, _ []string, by messages.Caller) (Plan, error) {
	w.callers = append(w.callers, "apply "+by.String())
	return fakePlan("done"), nil
}

func (w *world) Restore(_ context.Context, _ string, by messages.Caller) error {
	w.callers = append(w.callers, "restore "+by.String())
	return nil
}

func (w *world) Repair(ctx context.Context, by messages.Caller) (Repaired, error) {
	w.callers = append(w.callers, "repair "+by.String())
	if w.began != nil {
		close(w.began)
		select {
		case <-w.goOn:
		case <-ctx.Done():
			return Repaired{}, ctx.Err()
		}
	}
	return Repaired{Aside: "/aside", VMs: 3, Lines: []string{"\xff"}}, nil
}

func (w *world) Shutdown(_ context.Context, _ time.Duration, by messages.Caller) error {
	w.callers = append(w.callers, "shutdown "+by.String())
	return nil
}

func (w *world) Needs(s vm.Spec) (vm.Reservation, error) {
	return vm.ReservationFor(s, vm.MiB), nil
}

func (w *world) Resources(context.Context, bool) (vm.NodeResources, error) {
	return vm.NodeResources{VMs: len(w.vms)}, nil
}

func (w *world) Usage(vm.Name) vm.Usage { return vm.Usage{} }

func (w *world) Limits(vm.Record) (vm.Limits, vm.Holding) { return vm.Limits{}, vm.Holding{} }
