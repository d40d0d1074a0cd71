package qemu

import "context"

// prelaunch is QEMU's word for a machine that is reset and doesn't run yet.
const prelaunch = "prelaunch"

// Reset halts the machine, resets it and lets it run. It is halted first
// because QEMU resets only after it has answered: of a machine that runs nobody
// could say when that is over, and one that has panicked may be continued
// before as well, to a panicked guest.
func (s *session) Reset(ctx context.Context) error {
	if err := s.giveUp(ctx); err != nil { // its end would halt the guest again
		return err
	}
	if err := s.Pause(ctx); err != nil {
		return err
	}
	if err := s.do(ctx, "system_reset"); err != nil {
		return err
	}
	for {
		moved := s.movement()
		word, err := s.status(ctx)
		if err != nil {
			return err
		}
		if word == prelaunch {
			return s.do(ctx, "cont")
		}
		if err := s.wait(ctx, "wait for the reset", moved); err != nil {
			return err
		}
	}
}
