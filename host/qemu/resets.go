package qemu

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// A PC's firmware doesn't run twice in one life of the machine's memory: SeaBIOS
// finds itself used after a reset, and resets once more by each way that it has.
// So one reset is told by up to four events, the later ones as the guest's own,
// within 30 ms to 220 ms as measured under TCG on an idle host.

// echoTime is how long they may take to come on a busy host. A guest that resets
// by itself as early is heard when it does so again.
const echoTime = 5 * time.Second

// wasReset hears a reset. It belongs to the reading goroutine.
func (s *session) wasReset(m message) {
	n, guest := m.notice()
	now := time.Now()
	if guest && s.firmware.Load() && now.Sub(s.resetAt) < echoTime {
		return
	}
	s.resetAt = now
	if guest {
		s.tell(n)
	}
	s.step()
}

// machine asks whether QEMU's machine is one that boots by a PC's firmware.
func (s *session) machine(ctx context.Context) (firmware bool) {
	b, err := s.call(ctx, "qom-get", map[string]string{"path": "/machine", "property": "type"})
	if err != nil {
		return false // it may be any machine: then each reset is told
	}
	var name string
	_ = json.Unmarshal(b, &name) // another shape is a name that we don't know
	return strings.HasPrefix(name, "pc-")
}
