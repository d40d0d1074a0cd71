package sim

import (
	"context"
	"sync"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/persistence"
	"github.com/blixard/blixard/vm"
)

// longStore writes the last saved guest on, where the record has forgotten it as it ran.
type longStore struct {
	persistence.Store
	mu   *sync.Mutex
	last map[vm.ID]*vm.SavedState
}

func (l longStore) Commit(t persistence.Turn) (uint64, error) {
	l.mu.Lock()
	s := &t.Record.State
	if s.Saved != nil {
		l.last[t.Record.ID] = s.Saved
	} else if s.Phase&(vm.Starting|vm.Running|vm.Adopting) != 0 {
		s.Saved = l.last[t.Record.ID]
	}
	l.mu.Unlock()
	return l.Store.Commit(t)
}

// hoardingFolders remove no saved guest.
type hoardingFolders struct{ host.Folders }

func (hoardingFolders) DropStates(context.Context, vm.Record) error { return nil }

// sweepingFolders remove saved guests whatever the record names.
type sweepingFolders struct{ host.Folders }

func (f sweepingFolders) DropStates(ctx context.Context, r vm.Record) error {
	r.State.Saved = nil
	return f.Folders.DropStates(ctx, r)
}

// hastyDriver lets a guest run as soon as it is loaded, and comes to tell nobody of that.
type hastyDriver struct{ host.Driver }

func (d hastyDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	s, err := d.Driver.Attach(ctx, spec, f, notice)
	return hastySession{s}, err
}

type hastySession struct{ host.Session }

func (s hastySession) Loaded(ctx context.Context) error {
	if err := s.Session.Loaded(ctx); err != nil {
		return err
	}
	_ = s.Resume(ctx)
	<-ctx.Done()
	return ctx.Err()
}

// answeringAgent answers whatever its guest does, so that no check finds out.
type answeringAgent struct{ host.Agent }

func (a answeringAgent) Open(ctx context.Context, f host.Paths) (host.AgentConn, error) {
	c, err := a.Agent.Open(ctx, f)
	return answeringConn{c}, err
}

type answeringConn struct{ host.AgentConn }

func (answeringConn) Ping(context.Context) error { return nil }

// stillDriver lets nobody go on who stands still.
type stillDriver struct{ host.Driver }

func (d stillDriver) Attach(ctx context.Context, spec vm.Spec, f host.Paths, notice func(host.Notice)) (host.Session, error) {
	s, err := d.Driver.Attach(ctx, spec, f, notice)
	return stillSession{s}, err
}

type stillSession struct{ host.Session }

func (stillSession) Resume(context.Context) error { return nil }

// fullMachine never tells that there is room again.
type fullMachine struct{ host.Machine }

func (fullMachine) Room(string) (vm.Bytes, error) { return 0, nil }
