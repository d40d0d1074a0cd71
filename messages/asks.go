package messages

import (
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// AskOf reads which VM a request speaks of and what it asks. False: the request
// asks nothing of a single VM.
func AskOf(m proto.Message) (name string, e vm.Event, ok bool) {
	switch m := m.(type) {
	case *blixardv1.StartVMRequest:
		return m.GetName(), vm.StartAsked, true
	case *blixardv1.StopVMRequest:
		if m.GetForce() {
			return m.GetName(), vm.KillAsked, true
		}
		return m.GetName(), vm.StopAsked, true
	case *blixardv1.RestartVMRequest:
		return m.GetName(), vm.RestartAsked, true
	case *blixardv1.PauseVMRequest:
		return m.GetName(), vm.PauseAsked, true
	case *blixardv1.ResumeVMRequest:
		return m.GetName(), vm.ResumeAsked, true
	case *blixardv1.SuspendVMRequest:
		return m.GetName(), vm.SuspendAsked, true
	case *blixardv1.ResetVMRequest:
		return m.GetName(), vm.ResetAsked, true
	case *blixardv1.DeleteVMRequest:
		if m.GetForce() {
			return m.GetName(), vm.ForceDeleteAsked, true
		}
		return m.GetName(), vm.DeleteAsked, true
	}
	return "", 0, false
}
