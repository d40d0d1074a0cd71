package gateway

import (
	"context"
	"fmt"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// Some words of a spec may be secrets: an http check's header, what a check
// types into the console, a seed's user data and network. Who may not act on a
// VM gets their sizes, wherever a spec goes out: of the VM, of what runs, of
// what waits, of the evidence of a death.

// forCaller is the message as its caller may see it; it is changed in place, as
// each answer is made for one caller.
func forCaller[T proto.Message](ctx context.Context, m T) T {
	if callerOf(ctx).Role < messages.Operator {
		redact(m.ProtoReflect())
	}
	return m
}

// redact goes through all of a message, so that no answer that is yet to be
// invented can be forgotten.
func redact(m protoreflect.Message) {
	switch one := m.Interface().(type) {
	case *blixardv1.VMSpec:
		for _, secret := range secretsOf(one) {
			if *secret.text != "" {
				*secret.text = redacted(len(*secret.text))
			}
		}
		return
	case *blixardv1.VM:
		for i, line := range one.GetWaits() {
			if field := secretChange.FindString(line); field != "" {
				one.Waits[i] = field + "redacted"
			}
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil || fd.IsMap(): // no map of ours holds messages
		case fd.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

// secret is a text of a spec that may be one, under its name in a spec file.
type secret struct {
	field string
	text  *string
}

// secretsOf are the places; secretChange names the same in a difference.
func secretsOf(s *blixardv1.VMSpec) []secret {
	var out []secret
	for i, check := range s.GetHealth() {
		out = append(out, secret{fmt.Sprintf("health[%d].send", i), &check.Send})
		for k, h := range check.GetHeaders() {
			out = append(out, secret{fmt.Sprintf("health[%d].headers[%d].value", i, k), &h.Value})
		}
	}
	if seed := s.GetSeed(); seed != nil {
		out = append(out, secret{"seed.userData", &seed.UserData}, secret{"seed.network", &seed.Network})
	}
	return out
}

var secretChange = regexp.MustCompile(`^(?:health\[[^]]*\]\.(?:send|headers\[\d+\]\.value)|seed\.(?:userData|network)): `)

func redacted(n int) string {
	if n == 1 {
		return "redacted: 1 byte"
	}
	return fmt.Sprintf("redacted: %d bytes", n)
}

var wasRedacted = regexp.MustCompile(`^redacted: (\d+) bytes?$`)

// Redacted is how many bytes a text had of which a viewer sees that alone; false:
// it is the text itself.
func Redacted(text string) (bytes int, was bool) {
	found := wasRedacted.FindStringSubmatch(text)
	if found == nil {
		return 0, false
	}
	bytes, err := strconv.Atoi(found[1])
	return bytes, err == nil
}

// refuseRedacted keeps a spec that was shown to a viewer from replacing secrets
// by the words that stood for them.
func refuseRedacted(s *blixardv1.VMSpec) *vm.Refusal {
	for _, secret := range secretsOf(s) {
		if _, was := Redacted(*secret.text); was {
			return invalid(fmt.Sprintf("%s is %q, which stands for what a viewer may not see", secret.field, *secret.text),
				"the spec as an operator sees it, or the text itself")
		}
	}
	return nil
}
