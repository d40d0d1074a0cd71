package fake

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

func TestReachAnswersAsTheGuestDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(1, Watch{}, func(vm.Ref) Guest { return Guest{Boot: 5 * time.Second, Hang: time.Minute} }, func(string, ...any) {})
		r := w.Daemon().Ports().Reach
		const at = "10.0.0.5:80"
		w.Serve(at, Service{Of: "web", Slow: time.Second, Body: "ready"})
		c := vm.Check{URL: "http://10.0.0.5/health", Status: "200", Body: "ready"}
		ask := func(story string, want host.Kind) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			connected := r.Connect(ctx, at)
			seen, got := r.Get(ctx, c)
			for _, err := range []error{connected, got} {
				if (err == nil) != (want == 0) || err != nil && host.KindOf(err) != want {
					t.Errorf("%s: %v, %q", story, err, seen)
				}
			}
		}
		ask("no VM", host.Transient)
		w.mu.Lock()
		p := w.start(vm.Ref{VM: "1", Name: "web"}, false)
		w.mu.Unlock()
		ask("it boots", host.Gone)
		time.Sleep(5 * time.Second)
		synctest.Wait() // the guest answers in this very instant
		ask("it is up", 0)
		w.Serve(at, Service{Of: "web", Dead: true})
		ask("its service died", host.Gone)
		w.Serve(at, Service{Of: "web", Slow: time.Minute})
		ask("its service is slow", host.Transient)
		w.Serve(at, Service{Of: "web", Body: "ready"})
		time.Sleep(time.Minute)
		synctest.Wait()
		ask("it hangs", host.Transient)
		w.mu.Lock()
		p.end(vm.Exit{}, false)
		w.mu.Unlock()
	})
}
