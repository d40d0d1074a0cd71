package actors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// A run actor that begins anew, for a machine that is reset in place, has the
// name of the one before: what that one still had under way is not for it.
func TestWhatARunActorHadUnderWayEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, to := newMailbox(), &invoked{}
		m.RegisterHandlers(to, actor.NewSynchronizedDispatcher(300))
		m.Start()
		sys := actor.NewActorSystem()
		defer sys.Shutdown()
		self, _ := sys.ProcessRegistry.Add(actor.NewActorProcess(m), "run-1")
		ctx, cancel := context.WithCancel(t.Context())
		r := &runActor{env: &env{sys: sys}, self: self, ctx: ctx}
		slow := make(chan struct{})
		r.background(time.Minute, func(context.Context) any { return "in time" })
		r.background(time.Minute, func(context.Context) any { <-slow; return "late" })
		synctest.Wait()
		cancel()
		close(slow)
		synctest.Wait()
		if len(to.all) != 1 {
			t.Errorf("it heard %d messages, want the one in time", len(to.all))
		}
	})
}
