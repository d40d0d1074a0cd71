package actors

import (
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"
)

type invoked struct{ all []any }

func (i *invoked) InvokeSystemMessage(m any)     { i.all = append(i.all, m) }
func (i *invoked) InvokeUserMessage(m any)       { i.all = append(i.all, m) }
func (i *invoked) EscalateFailure(reason, _ any) { panic(reason) }

// The name of an actor is known before its mailbox can be scheduled: who had the
// PID of an earlier one of that name must not end the daemon.
func TestAMessageWaitsForTheActorThatIsJustBeingSpawned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, to := newMailbox(), &invoked{}
		go m.PostUserMessage("early")
		synctest.Wait()
		m.RegisterHandlers(to, actor.NewSynchronizedDispatcher(300))
		synctest.Wait()
		if len(to.all) != 0 {
			t.Fatalf("before it began it heard %v", to.all)
		}
		m.PostSystemMessage("started")
		m.Start()
		synctest.Wait()
		if len(to.all) != 2 || to.all[0] != "started" || to.all[1] != "early" {
			t.Errorf("it heard %v", to.all)
		}
	})
}
