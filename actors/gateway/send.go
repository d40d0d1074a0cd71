package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// sendable says which messages each kind of actor takes.
var sendable = map[string][]string{
	"vm": {
		"StartVM", "StopVM", "RestartVM", "PauseVM", "ResumeVM", "SuspendVM", "ResetVM", "DeleteVM", "GetVM", "ExplainVM", "WaitVM",
		"ExecVM", "ListCrashes", "GetCrash",
	},
	"fleet":      {"CreateVM", "Apply"},
	"reconciler": {"NodePlan", "ApplyPlan", "RestoreQuarantined"},
	"tracker":    {"NodeResources"},
	"root":       {"NodeStatus", "NodeRepair", "ShutdownNode"},
}

// send gives one message to one actor: the method of the same name, under that
// method's own role.
func (d *Door) send(ctx context.Context, m *blixardv1.SendRequest) (*blixardv1.SendResponse, error) {
	kind, name, _ := strings.Cut(m.GetPath(), "/")
	types, ok := sendable[kind]
	if !ok || (kind == "vm") != (name != "") {
		return nil, &vm.Refusal{
			Code: vm.NotFound, Why: fmt.Sprintf("no actor takes messages at %.80q", m.GetPath()), Try: "vm/NAME, fleet, reconciler or root; blixard node tree",
		}
	}
	typ := strings.TrimSuffix(m.GetType(), "Request")
	if !slices.Contains(types, typ) {
		return nil, invalid(fmt.Sprintf("%.80q takes no message %.60q", m.GetPath(), m.GetType()), "one of "+strings.Join(types, ", "))
	}
	if no := allow(callerOf(ctx), typ, methods[typ]); no != nil {
		return nil, no
	}
	req, err := readMessage(typ, name, m.GetJson())
	if err != nil {
		return nil, err
	}
	res, err := d.deliver(ctx, req)
	if err != nil {
		return nil, err
	}
	b, err := messages.JSON{}.Marshal(forCaller(ctx, res))
	if err != nil {
		return nil, err
	}
	return &blixardv1.SendResponse{Type: string(res.ProtoReflect().Descriptor().Name()), Json: string(b)}, nil
}

// readMessage makes the request of a method from JSON; its name is the path's.
func readMessage(typ, name, text string) (proto.Message, error) {
	full := protoreflect.FullName("blixard.v1." + typ + "Request")
	kind, err := protoregistry.GlobalTypes.FindMessageByName(full)
	if err != nil {
		return nil, fmt.Errorf("find the message %s: %w", full, err)
	}
	m := kind.New().Interface()
	if strings.TrimSpace(text) == "" {
		text = "{}"
	}
	if err := (messages.JSON{}).Unmarshal([]byte(text), m); err != nil {
		return nil, invalid(fmt.Sprintf("%s: %v", typ, err), "{} for a message without fields")
	}
	field := m.ProtoReflect().Descriptor().Fields().ByName("name")
	if name == "" || field == nil {
		return m, nil
	}
	if said := m.ProtoReflect().Get(field).String(); said != "" && said != name {
		return nil, invalid(fmt.Sprintf("the path names %.60q, the message names %.60q", name, said), "leave the name out of the message")
	}
	m.ProtoReflect().Set(field, protoreflect.ValueOfString(name))
	return m, nil
}

// deliver is the door's inside: one request, one answer.
func (d *Door) deliver(ctx context.Context, req proto.Message) (proto.Message, error) {
	switch m := req.(type) {
	case *blixardv1.CreateVMRequest:
		return message(d.create(ctx, m))
	case *blixardv1.ApplyRequest:
		return message(d.apply(ctx, m))
	case *blixardv1.NodeResourcesRequest:
		return message(d.resources(ctx, m))
	case *blixardv1.NodePlanRequest:
		return message(d.plan(ctx, m))
	case *blixardv1.ApplyPlanRequest:
		return message(d.applyPlan(ctx, m))
	case *blixardv1.RestoreQuarantinedRequest:
		return message(d.restore(ctx, m))
	case *blixardv1.NodeStatusRequest:
		return message(d.status(), nil)
	case *blixardv1.NodeRepairRequest:
		return message(d.repair(ctx))
	case *blixardv1.ShutdownNodeRequest:
		return message(d.shutdown(ctx, m))
	case *blixardv1.GetVMRequest:
		return message(d.get(ctx, m))
	case *blixardv1.ExplainVMRequest:
		return message(d.explain(ctx, m))
	case *blixardv1.WaitVMRequest:
		return message(d.wait(ctx, m))
	case *blixardv1.ExecVMRequest:
		return message(d.exec(ctx, m))
	case *blixardv1.ListCrashesRequest:
		return message(d.listCrashes(ctx, m))
	case *blixardv1.GetCrashRequest:
		return message(d.getCrash(ctx, m))
	}
	return message(d.ask(ctx, req))
}

// message keeps a nil pointer from becoming an interface that isn't nil.
func message[T proto.Message](m T, err error) (proto.Message, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Send gives one message to one actor.
func (d *Door) Send(ctx context.Context, r *connect.Request[blixardv1.SendRequest]) (*connect.Response[blixardv1.SendResponse], error) {
	return answer(d.send(ctx, r.Msg))
}
