package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
)

// Client drives a daemon by its socket, wherever that is at the moment.
type Client struct {
	blixardv1connect.NodeClient

	http *http.Client
}

// newClient dials anew for each connection: where the socket is may change with each life of the daemon.
func newClient(socket func() string) *Client {
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket())
		},
		MaxIdleConnsPerHost: 64,
	}}}
	c.NodeClient = blixardv1connect.NewNodeClient(c.http, "http://node")
	return c
}

// HangUp closes what is open to a daemon that ended.
func (c *Client) HangUp() { c.http.CloseIdleConnections() }

// unary calls one method of the socket.
func unary[Q, A any](ctx context.Context, method func(context.Context, *connect.Request[Q]) (*connect.Response[A], error), ask *Q) (*A, error) {
	answer, err := method(ctx, connect.NewRequest(ask))
	if err != nil {
		return nil, err
	}
	return answer.Msg, nil
}

// Refusal returns the refusal in an error of the socket, or nil.
func Refusal(err error) *v1.Refusal {
	var from *connect.Error
	if !errors.As(err, &from) {
		return nil
	}
	for _, detail := range from.Details() {
		if value, err := detail.Value(); err == nil {
			if refusal, ok := value.(*v1.Refusal); ok {
				return refusal
			}
		}
	}
	return nil
}

// Create makes a VM and starts it where asked.
func (c *Client) Create(ctx context.Context, spec *v1.VMSpec, start bool) (*v1.VM, error) {
	return unary(ctx, c.CreateVM, &v1.CreateVMRequest{Spec: spec, Start: start})
}

// Get is the VM as status shows it.
func (c *Client) Get(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.GetVM, &v1.GetVMRequest{Name: name})
}

// StartOf asks the VM up.
func (c *Client) StartOf(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.StartVM, &v1.StartVMRequest{Name: name})
}

// StopOf asks the VM down; force kills it.
func (c *Client) StopOf(ctx context.Context, name string, force bool) (*v1.VM, error) {
	return unary(ctx, c.StopVM, &v1.StopVMRequest{Name: name, Force: force})
}

// SuspendOf saves the guest to the disk.
func (c *Client) SuspendOf(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.SuspendVM, &v1.SuspendVMRequest{Name: name})
}

// ResumeOf lets a paused or suspended guest go on.
func (c *Client) ResumeOf(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.ResumeVM, &v1.ResumeVMRequest{Name: name})
}

// Inside runs a command in the guest and returns what it wrote to its standard output.
func (c *Client) Inside(ctx context.Context, name string, argv ...string) (string, error) {
	r, err := unary(ctx, c.ExecVM, &v1.ExecVMRequest{Name: name, Argv: argv})
	if err != nil {
		return "", err
	}
	if r.GetExitCode() != 0 {
		return "", fmt.Errorf("%v in %s: exit code %d: %s", argv, name, r.GetExitCode(), r.GetStderr())
	}
	return string(r.GetStdout()), nil
}

// DeleteOf removes the VM, even if it runs.
func (c *Client) DeleteOf(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.DeleteVM, &v1.DeleteVMRequest{Name: name, Force: true})
}

// ResetOf forgives.
func (c *Client) ResetOf(ctx context.Context, name string) (*v1.VM, error) {
	return unary(ctx, c.ResetVM, &v1.ResetVMRequest{Name: name})
}

// Goal is what to wait for; empty fields don't matter.
type Goal struct {
	Phase, Health string
	After         uint64 // only states newer than this revision count
	Within        time.Duration
}

// Wait returns the VM once it is as the goal says. It never polls.
func (c *Client) Wait(ctx context.Context, name string, g Goal) (*v1.VM, error) {
	vm, err := unary(ctx, c.WaitVM, &v1.WaitVMRequest{
		Name: name, Phase: g.Phase, Health: g.Health, Timeout: durationpb.New(g.Within), AfterRevision: g.After,
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for %s to be %s%s: %w", name, g.Phase, g.Health, err)
	}
	return vm, nil
}

// Removed returns when no VM has that name any more.
func (c *Client) Removed(ctx context.Context, name string, within time.Duration) error {
	_, err := c.Wait(ctx, name, Goal{Phase: "removed", Within: within})
	if r := Refusal(err); r.GetCode() == "not-found" {
		return nil // it was gone before we asked
	}
	return err
}

// List returns every VM.
func (c *Client) List(ctx context.Context) ([]*v1.VM, error) {
	answer, err := unary(ctx, c.ListVMs, &v1.ListVMsRequest{})
	if err != nil {
		return nil, err
	}
	return answer.GetVms(), nil
}

// Crashes returns the deaths of a VM, newest first.
func (c *Client) Crashes(ctx context.Context, name string) ([]*v1.Crash, error) {
	answer, err := unary(ctx, c.ListCrashes, &v1.ListCrashesRequest{Name: name, Limit: 100})
	if err != nil {
		return nil, err
	}
	return answer.GetCrashes(), nil
}

// Watch calls each for the events after the sequence number until it returns
// false. With follow it waits for those to come, until ctx ends.
func (c *Client) Watch(ctx context.Context, after uint64, follow bool, each func(*v1.Event) bool) error {
	stream, err := c.WatchEvents(ctx, connect.NewRequest(&v1.WatchEventsRequest{After: &after, Follow: follow}))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if !each(stream.Msg()) {
			return nil
		}
	}
	return stream.Err()
}

// Story is the journal as a failing test prints it.
func (c *Client) Story(ctx context.Context) string {
	var out strings.Builder
	err := c.Watch(ctx, 0, false, func(e *v1.Event) bool {
		fmt.Fprintf(&out, "%s %-12s %s → %s, incarnation %d, revision %d: %s %s: %s\n", e.GetAt().AsTime().Format("15:04:05.000"),
			e.GetVm(), e.GetFrom(), e.GetTo(), e.GetIncarnation(), e.GetRevision(), e.GetKind(), e.GetDecision(), e.GetWhy())
		return true
	})
	if err != nil {
		fmt.Fprintf(&out, "(the journal ends here: %v)\n", err)
	}
	return out.String()
}
