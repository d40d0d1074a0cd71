package policies

import (
	"fmt"
	"strings"
	"time"

	"github.com/blixard/blixard/vm"
)

const dumpedFirst = "; its memory is written down before anything is done about it, in at most "

// DumpedFirst is the health of a sick guest whose memory is written before it is
// healed or killed.
func DumpedFirst(f vm.Failure, most time.Duration) string {
	return f.Error() + dumpedFirst + vm.Span(most)
}

// whileUp tells what comes next of a guest that is up, for which next was found so
// far. One that is just being dumped is sick already.
func whileUp(now time.Time, r vm.Record, next string) string {
	why, s := r.State.HealthWhy, r.State
	at := strings.LastIndex(why, dumpedFirst)
	if at < 0 || s.Health != vm.Unhealthy {
		return joined(next, ifSick(now, r))
	}
	cause, _, _ := strings.Cut(why, ":")
	then := "its end is met by the restart policy"
	if _, _, left := Budget(now, r.Spec.Restart, s); left > 0 && len(r.Spec.Remedies) > 0 {
		then = remedyFor(r, RungsUsed(now, r), vm.Cause(cause))
	}
	return fmt.Sprintf("its memory is being written (at most %s), then %s", why[at+len(dumpedFirst):], then)
}
