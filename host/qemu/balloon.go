package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// balloonID names the balloon, and so its place among QEMU's objects.
const balloonID = "balloon"

const (
	// statsEvery is how often the guest is asked while its answer is waited for,
	// in whole seconds: QEMU knows none shorter.
	statsEvery = 1
	// statsWait is how long that takes at most: a guest without a driver never answers.
	statsWait = 3 * time.Second
	// statsLook is how often QEMU is asked whether the guest has answered.
	statsLook = 200 * time.Millisecond
)

// Balloon has the guest keep so much of its memory; see host.Ballooning.
func (s *session) Balloon(ctx context.Context, leave vm.Bytes) error {
	_, err := s.call(ctx, "balloon", map[string]any{"value": int64(leave)})
	return err
}

// Left asks QEMU for the balloon's size.
func (s *session) Left(ctx context.Context) (vm.Bytes, error) {
	b, err := s.call(ctx, "query-balloon", nil)
	if err != nil {
		return 0, err
	}
	var size struct {
		Actual int64 `json:"actual"`
	}
	if err := json.Unmarshal(b, &size); err != nil || size.Actual <= 0 {
		return 0, host.Fail(host.Transient, "query-balloon", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	return vm.Bytes(size.Actual), nil
}

// Memory asks QEMU for the balloon's size, and the guest for its own view. The
// guest is asked only meanwhile: else it would wake each second for it.
func (s *session) Memory(ctx context.Context) (host.GuestMemory, error) {
	left, err := s.Left(ctx)
	if err != nil {
		return host.GuestMemory{}, err
	}
	out := host.GuestMemory{Left: left}
	s.askGuest(ctx, &out)
	return out, nil
}

// askGuest adds what the guest says of its memory. That it says nothing is no failure.
func (s *session) askGuest(ctx context.Context, out *host.GuestMemory) {
	before, err := s.guestStats(ctx)
	if err != nil || s.pollGuest(ctx, statsEvery) != nil {
		return
	}
	defer func() {
		quiet, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeBound)
		defer cancel()
		_ = s.pollGuest(quiet, 0) // fails only on a session that is over
	}()
	wait, cancel := context.WithTimeout(ctx, statsWait)
	defer cancel()
	tick := time.NewTicker(statsLook)
	defer tick.Stop()
	for {
		now, err := s.guestStats(wait)
		if err != nil {
			return
		}
		if now.LastUpdate > before.LastUpdate {
			out.Free, out.Available = now.bytes("stat-free-memory"), now.bytes("stat-available-memory")
			return
		}
		select {
		case <-tick.C:
		case <-wait.Done():
			return
		case <-s.ended:
			return
		}
	}
}

// balloonStats is QEMU's guest-stats. What the guest never said is -1, which
// QEMU writes as the largest unsigned number.
type balloonStats struct {
	LastUpdate int64                  `json:"last-update"`
	Stats      map[string]json.Number `json:"stats"`
}

func (b balloonStats) bytes(name string) vm.Bytes {
	n, err := b.Stats[name].Int64()
	if err != nil || n < 0 || vm.Bytes(n) > vm.MaxMemory {
		return 0
	}
	return vm.Bytes(n)
}

func balloonPath(property string) map[string]any {
	return map[string]any{"path": "/machine/peripheral/" + balloonID, "property": property}
}

func (s *session) guestStats(ctx context.Context) (out balloonStats, err error) {
	b, err := s.call(ctx, "qom-get", balloonPath("guest-stats"))
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, host.Fail(host.Transient, "qom-get", fmt.Errorf("not understood: %q", clip(string(b))))
	}
	return out, nil
}

func (s *session) pollGuest(ctx context.Context, seconds int) error {
	set := balloonPath("guest-stats-polling-interval")
	set["value"] = seconds
	_, err := s.call(ctx, "qom-set", set)
	return err
}
