package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// story is what happened, in order, with virtual times.
type story struct {
	mu    sync.Mutex
	began time.Time
	lines []string
}

func newStory() *story { return &story{began: time.Now()} }

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%14s  %s", time.Since(s.began).Round(time.Microsecond), fmt.Sprintf(format, args...)))
}

// breach begins a line that tells of a broken promise.
const breach = "!!!"

// about is the story until shortly after its first breach, of one VM and the
// node; name "" tells of all, to the end.
func (s *story) about(name string, most int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, l := range s.lines {
		if name != "" && len(out) > 0 && strings.Contains(out[len(out)-1], breach) {
			break
		}
		if name == "" || strings.Contains(l, name) || strings.Contains(l, "NODE") {
			out = append(out, l)
		}
	}
	return strings.Join(out[max(0, len(out)-most):], "\n")
}
