package qemu

import (
	"context"
	"encoding/json"
	"time"

	"github.com/blixard/blixard/host"
)

// stopped asks why the guest was halted: of an internal error of its own QEMU
// tells nothing else.
func (s *session) stopped() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stops++; s.stops == 1 {
		go s.askWhy()
	}
}

func (s *session) askWhy() {
	for {
		s.mu.Lock()
		asked := s.stops
		s.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), writeBound)
		state, _ := s.State(ctx) // a session that is gone tells so by itself
		cancel()
		if state == host.GuestBroken {
			s.tell(host.Notice{Kind: host.NoticeBroken, Detail: "internal-error", At: time.Now()})
		}
		s.mu.Lock()
		s.stops -= asked
		left := s.stops
		s.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

// full says whether what halted the guest is that a disk can't grow.
func (s *session) full(ctx context.Context) bool {
	b, err := s.call(ctx, "query-block", nil)
	if err != nil {
		return false
	}
	var disks []struct {
		Status string `json:"io-status"`
	}
	full := false
	if err := json.Unmarshal(b, &disks); err != nil {
		return false
	}
	for _, d := range disks {
		if d.Status == "failed" {
			return false
		}
		full = full || d.Status == "nospace"
	}
	return full
}
