package gateway

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func TestWaitStories(t *testing.T) {
	for story, c := range map[string]struct {
		req  *blixardv1.WaitVMRequest
		play func(w *world, d *Door)
		took time.Duration
		code vm.Code // empty: it came true
		says string
	}{
		"it is so already": {req: &blixardv1.WaitVMRequest{Phase: "starting"}, play: func(*world, *Door) {}},
		"it gets there": {
			req: &blixardv1.WaitVMRequest{Phase: "running"}, took: 3 * time.Second,
			play: func(w *world, _ *Door) {
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.State.Health = vm.Degraded })
				time.Sleep(2 * time.Second)
				w.change("web", func(r *vm.Record) { r.State.Phase = vm.Running })
			},
		},
		"phase and health both": {
			req: &blixardv1.WaitVMRequest{Phase: "running", Health: "healthy"}, took: 2 * time.Second,
			play: func(w *world, _ *Door) {
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.State.Phase = vm.Running })
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.State.Health = vm.Healthy })
			},
		},
		"nothing happens for the default time": {
			req: &blixardv1.WaitVMRequest{Phase: "failed"}, took: 30 * time.Second, play: func(*world, *Door) {},
			code: vm.TimedOut, says: "web did not get to phase=failed within 30s: it is starting",
		},
		"its own timeout": {
			req:  &blixardv1.WaitVMRequest{Health: "healthy", Timeout: durationpb.New(1500 * time.Millisecond)},
			took: 1500 * time.Millisecond, play: func(*world, *Door) {}, code: vm.TimedOut, says: "health=healthy within 1.5s",
		},
		"no time at all is one look": {
			req:  &blixardv1.WaitVMRequest{Phase: "running", Timeout: durationpb.New(0)},
			play: func(*world, *Door) {}, code: vm.TimedOut,
		},
		"old news don't count": {
			req: &blixardv1.WaitVMRequest{Phase: "starting", AfterRevision: 5}, took: time.Second,
			play: func(w *world, _ *Door) {
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.State.Revision++ })
			},
		},
		"until it is removed": {
			req: &blixardv1.WaitVMRequest{Phase: "removed"}, took: time.Second,
			play: func(w *world, _ *Door) { time.Sleep(time.Second); w.remove("web") },
		},
		"removed, and the name taken anew": {
			req: &blixardv1.WaitVMRequest{Phase: "removed"}, took: time.Second,
			play: func(w *world, _ *Door) {
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.ID = "another" })
			},
		},
		"another VM of the name is not waited for": {
			req: &blixardv1.WaitVMRequest{Phase: "running"}, took: time.Second, code: vm.NotFound,
			play: func(w *world, _ *Door) {
				time.Sleep(time.Second)
				w.change("web", func(r *vm.Record) { r.ID, r.State.Phase = "another", vm.Running })
			},
		},
		"deleted meanwhile": {
			req: &blixardv1.WaitVMRequest{Phase: "running"}, took: time.Second, code: vm.NotFound,
			play: func(w *world, _ *Door) { time.Sleep(time.Second); w.remove("web") },
		},
		"the daemon stops": {
			req: &blixardv1.WaitVMRequest{Phase: "running"}, took: time.Second, code: vm.Unavailable, says: "left alone",
			play: func(_ *world, d *Door) { time.Sleep(time.Second); d.Close(); d.Close() },
		},
		"no such phase": {req: &blixardv1.WaitVMRequest{Phase: "runing"}, play: func(*world, *Door) {}, code: vm.Invalid, says: "runing"},
		"for ever":      {req: &blixardv1.WaitVMRequest{Phase: "running", Timeout: durationpb.New(time.Hour + 1)}, play: func(*world, *Door) {}, code: vm.Invalid},
		"a broken duration": {
			req:  &blixardv1.WaitVMRequest{Phase: "running", Timeout: &durationpb.Duration{Seconds: 1, Nanos: -1}},
			play: func(*world, *Door) {}, code: vm.Invalid,
		},
	} {
		t.Run(story, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(record("web", vm.Starting))
				d := w.door(t)
				began := time.Now()
				go c.play(w, d)
				c.req.Name = "web"
				got, err := d.wait(t.Context(), c.req)
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				r := messages.RefusalOf(err)
				switch {
				case c.code == "" && (err != nil || got.GetName() != "web"):
					t.Errorf("it should have come true: %v %v", got, err)
				case c.code != "" && (r == nil || r.Code != c.code || !strings.Contains(r.Why, c.says)):
					t.Errorf("refusal %v, want %s with %q", err, c.code, c.says)
				}
				synctest.Wait()
			})
		})
	}
}
