package actors_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

func TestAnActionThatIsNotThereIsRefusedByItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, boots(time.Second))
		defer func() { s.end() }()
		_, err := s.node.ApplyPlan(t.Context(), []string{"foo"}, messages.Caller{})
		no, ok := errors.AsType[*vm.Refusal](err)
		if !ok || no.Code != vm.NotFound || !strings.Contains(no.Why, `"foo"`) {
			t.Errorf("an action that nobody planned: %v", err)
		}
		if _, err := s.node.ApplyPlan(t.Context(), nil, messages.Caller{}); err != nil {
			t.Errorf("all that waits, which is nothing: %v", err)
		}
	})
}
