package messages

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// EvidenceToProto is what a bundle tells beside the record of the death.
func EvidenceToProto(b vm.Bundle) *blixardv1.Evidence {
	out := &blixardv1.Evidence{Spec: SpecToProto(b.Spec)}
	for _, why := range b.Lacks {
		out.Lacks = append(out.Lacks, Text(why))
	}
	if c := b.Core; c != nil {
		out.Core = &blixardv1.Core{Bytes: int64(c.Bytes), Why: Text(c.Why)}
	}
	n := b.Notes
	if n == nil {
		return out
	}
	for _, arg := range n.Argv {
		out.Argv = append(out.Argv, Text(arg))
	}
	for _, s := range n.Notices {
		out.Notices = append(out.Notices, &blixardv1.Said{At: Stamp(s.At), Kind: Text(s.Kind), Detail: Text(s.Detail)})
	}
	for _, r := range n.Rounds {
		out.Rounds = append(out.Rounds, &blixardv1.Round{
			Check: Text(r.Check), At: Stamp(r.At), Took: durationpb.New(r.Took), Ok: r.OK, Detail: Text(r.Detail), Dropped: Text(r.Dropped),
		})
	}
	if n.Usage != nil {
		out.Usage = UsageToProto(*n.Usage)
	}
	if n.Node != nil && !n.Node.At.IsZero() {
		out.Pressure = &blixardv1.NodePressure{Cpu: n.Node.CPU, Memory: n.Node.MemoryWait, Io: n.Node.IO}
	}
	if d := n.Dump; d != nil {
		out.Dump = &blixardv1.Dumped{Format: string(d.Format), Bytes: int64(d.Bytes), Took: durationpb.New(d.Took), Why: Text(d.Why)}
	}
	return out
}
