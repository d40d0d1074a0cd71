package actors

import "sync"

// What a console says on its way to the checks that listen:
//
//	console's loop ─▶ spoken of run-<n> ─▶ spoken of each probe, which looks through a piece at a time
//
// The loop serves all VMs and waits for none. So a guest that floods its console
// is heard only in part, and costs no more than this.
const (
	// mostSpoken is more than a boot writes in a second, and what two such queues
	// may hold of a guest that says more than is looked through.
	mostSpoken = 1 << 20
	// pieceSpoken is what is looked through before a probe turns to its schedule.
	pieceSpoken = 64 << 10
)

// spoken is a queue of text; where it would grow too long, the oldest is lost.
type spoken struct {
	mu    sync.Mutex
	text  []byte
	lost  int64 // bytes since the last take
	known bool  // who takes has been told that there is something
}

// add says whether whoever takes is to be told: one notice is under way at most.
func (s *spoken) add(b []byte, lost int64) (tell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if over := len(s.text) + len(b) - mostSpoken; over > 0 {
		s.lost += int64(over)
		old := min(over, len(s.text))
		s.text = append(s.text[:0], s.text[old:]...)
		b = b[over-old:]
	}
	s.lost += lost
	s.text = append(s.text, b...)
	tell = !s.known
	s.known = true
	return tell
}

// take hands out at most n bytes, the oldest first. While there is more, whoever
// takes is to go on by itself.
func (s *spoken) take(n int) (text []byte, lost int64, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.text))
	text, lost, s.lost = s.text[:n:n], s.lost, 0
	s.text = s.text[n:]
	if len(s.text) == 0 {
		s.text = nil
	}
	s.known = len(s.text) > 0
	return text, lost, s.known
}
