// Package actors is the supervision tree. Actors are thin: policies decide,
// persistence keeps, host acts.
//
//	root ── fleet ── vm/<name> ── run-<n>
//
// This file is the only place that names the actor library's system: the rest
// spawns through spawn, asks through reply channels, and is rung by host.Clock.
package actors

import (
	"log/slog"
	"runtime/debug"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/blixard/blixard/vm"
)

// newSystem makes the actor system with its log going to ours.
func newSystem(log *zap.Logger) *actor.ActorSystem {
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		// The library tells of each panic, and a guest's death is one: its turn tells of that.
		return slog.New(zapslog.NewHandler(log.Named("actor").WithOptions(zap.IncreaseLevel(zap.WarnLevel)).Core()))
	}))
}

// spawner is a parent's context, or the system's root context.
type spawner interface {
	SpawnNamed(props *actor.Props, id string) (*actor.PID, error)
}

// spawn starts a child with the middleware that every actor of ours has. A
// producer runs even if the name is taken: it must have no side effects.
func spawn(in spawner, log *zap.Logger, name string, produce func() actor.Actor) *actor.PID {
	props := actor.PropsFromProducer(produce, actor.WithMailbox(newMailbox), actor.WithReceiverMiddleware(endSafely(log), keepStack(log)))
	pid, err := in.SpawnNamed(props, name)
	if err != nil {
		panic("actors: spawn " + name + ": " + err.Error()) // P1: a name is taken only if the last one did not end
	}
	return pid
}

// endSafely recovers a panic while an actor ends: the library would wait for
// that actor for ever, and with it for the whole subtree.
func endSafely(log *zap.Logger) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
			switch e.Message.(type) {
			case *actor.Stopping, *actor.Stopped, *actor.Restarting:
				defer func() {
					if r := recover(); r != nil {
						log.Error("panic while an actor ended", zap.String("actor", c.Self().Id),
							zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
					}
				}()
			}
			next(c, e)
		}
	}
}

// keepStack logs the stack of a bug before supervision takes the panic; a
// guest's failure is no bug and needs none.
func keepStack(log *zap.Logger) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, e *actor.MessageEnvelope) {
			defer func() {
				r := recover()
				if r == nil {
					return
				}
				if _, ok := r.(vm.Failure); !ok {
					log.Error("actor panicked", zap.String("actor", c.Self().Id), zap.Any("panic", r),
						zap.ByteString("stack", debug.Stack()))
				}
				panic(r)
			}()
			next(c, e)
		}
	}
}
