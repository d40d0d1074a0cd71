package actors

import (
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// crashKernel: the guest panicked and looks after itself. Its probes would tell
// that no agent answers, and have its VMM killed in the midst of its dump. The
// reset or the poweroff that ends it is the death; so is the end of its time.
func (r *runActor) crashKernel() {
	if r.evidence.Crashed {
		return
	}
	r.evidence.Crashed, r.paused = true, true
	r.good.spoil("the guest panicked meanwhile")
	r.env.tell(r.parent, messages.HealthJudged{
		Incarnation: r.ref.Incarnation, Health: vm.Unhealthy, Probes: r.standings(),
		Why: "the guest panicked; its own crash kernel has " + vm.Span(policies.CrashKernelTime) + " for its dump",
	})
	r.after(policies.CrashKernelTime, exitOverdue{vm.Failure{
		Cause: vm.CauseGuestPanic, Evidence: "the guest panicked, and its own crash kernel did not end within " + vm.Span(policies.CrashKernelTime),
	}})
}
