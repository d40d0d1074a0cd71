package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// mailbox takes nothing before its actor can be scheduled, and nothing of others
// before its Started. The library makes an actor's name known before that, and
// whoever still has the PID of an earlier actor of that name, as of a VM that was
// deleted and made anew, would end the daemon by a nil pointer.
type mailbox struct {
	actor.Mailbox
	handled, started sync.WaitGroup // of one each: a tenth of what a channel holds
}

func newMailbox() actor.Mailbox {
	m := &mailbox{Mailbox: actor.Unbounded()()}
	m.handled.Add(1)
	m.started.Add(1)
	return m
}

// RegisterHandlers is called once, by whoever spawns.
func (m *mailbox) RegisterHandlers(to actor.MessageInvoker, by actor.Dispatcher) {
	m.Mailbox.RegisterHandlers(to, by)
	m.handled.Done()
}

// Start is called once, when Started is in the mailbox.
func (m *mailbox) Start() {
	m.Mailbox.Start()
	m.started.Done()
}

// PostUserMessage waits for the spawning, which waits for nobody.
func (m *mailbox) PostUserMessage(message any) {
	m.started.Wait()
	m.Mailbox.PostUserMessage(message)
}

// PostSystemMessage does, too; the first one is Started.
func (m *mailbox) PostSystemMessage(message any) {
	m.handled.Wait()
	m.Mailbox.PostSystemMessage(message)
}
