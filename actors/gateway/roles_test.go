package gateway

import (
	"testing"

	"github.com/blixard/blixard/messages"
)

func TestAGivenRoleStandsAlsoBelowTheOthers(t *testing.T) {
	roles := Roles{
		Self: 990, Users: map[int]messages.Role{1001: messages.Admin},
		Groups: map[int]messages.Role{50: messages.Viewer, 60: messages.Operator}, Others: messages.Operator,
	}
	for name, c := range map[string]struct {
		uid, gid int
		groups   []int
		want     messages.Role
	}{
		"root":                           {0, 0, nil, messages.Admin},
		"the daemon's own user":          {990, 990, nil, messages.Admin},
		"a viewer's group":               {1000, 50, nil, messages.Viewer},
		"a viewer's supplementary group": {1000, 1000, []int{50}, messages.Viewer},
		"the highest of two groups":      {1000, 50, []int{60}, messages.Operator},
		"a user above his group":         {1001, 50, nil, messages.Admin},
		"nobody in particular":           {1000, 1000, []int{1000}, messages.Operator},
	} {
		peer := messages.Peer{Caller: messages.Caller{UID: c.uid, GID: c.gid}, Groups: c.groups}
		if got := roles.Of(peer); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
