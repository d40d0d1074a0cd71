package messages

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// reclaimToProto is nil where nothing is ever taken back.
func reclaimToProto(r vm.Reclaim) *blixardv1.Reclaim {
	if len(r.Steps) == 0 && r.Keep == 0 && r.Idle == (vm.Idle{}) {
		return nil
	}
	out := &blixardv1.Reclaim{
		Keep: int32(r.Keep), Idle: &blixardv1.Idle{Cpu: r.Idle.CPU, Packets: r.Idle.Packets, IoBytes: int64(r.Idle.IO)},
	}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, &blixardv1.ReclaimStep{Do: Text(string(s.Do)), After: durationpb.New(s.After)})
	}
	return out
}

func (d *durations) reclaim(p *blixardv1.Reclaim) vm.Reclaim {
	r := vm.Reclaim{
		Keep: int(p.GetKeep()),
		Idle: vm.Idle{CPU: p.GetIdle().GetCpu(), Packets: p.GetIdle().GetPackets(), IO: vm.Bytes(p.GetIdle().GetIoBytes())},
	}
	for i, s := range p.GetSteps() {
		r.Steps = append(r.Steps, vm.ReclaimStep{
			Do: vm.ReclaimDo(s.GetDo()), After: d.read(fmt.Sprintf("reclaim.steps[%d].after", i), s.GetAfter()),
		})
	}
	return r
}
