package netlink

import (
	"strconv"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// maxAlias is the kernel's bound on an alias (IFALIASZ, its end byte excluded).
const maxAlias = 255

// alias is what marks a link as ours. A bridge's has no VM.
type alias struct {
	node   string
	vm     vm.ID
	number vm.Incarnation
}

func (a alias) String() string {
	if a.vm == "" {
		return "blixard " + a.node
	}
	return "blixard " + a.node + " " + string(a.vm) + " " + strconv.FormatUint(uint64(a.number), 10)
}

// parseAlias reads what String writes, and nothing else: an alias with another
// byte in it was written by somebody else.
func parseAlias(s string) (alias, bool) {
	words := strings.Split(s, " ")
	var a alias
	switch len(words) {
	case 2:
		a = alias{node: words[1]}
	case 4:
		number, err := strconv.ParseUint(words[3], 10, 64)
		if err != nil || words[2] == "" {
			return alias{}, false
		}
		a = alias{node: words[1], vm: vm.ID(words[2]), number: vm.Incarnation(number)}
	}
	return a, a.node != "" && a.String() == s
}

// parseRunners reads the alias of a tap that a built runner made.
func parseRunners(s string) (node string, id vm.ID, ok bool) {
	words := strings.Split(s, " ")
	if len(words) != 3 || words[1] == "" || words[2] == "" {
		return "", "", false
	}
	node, id = words[1], vm.ID(words[2])
	return node, id, host.RunnerMark(node, id) == s
}

// found is whose the tap is by its alias, if it is of this node: one of ours, or
// one of a built runner, whose incarnation its alias doesn't say.
func (l *Links) found(text string) (id vm.ID, number vm.Incarnation, ours bool) {
	if a, marked := parseAlias(text); marked && a.number > 0 {
		return a.vm, a.number, a.node == l.config.Node && a.vm != ""
	}
	node, id, marked := parseRunners(text)
	return id, 0, marked && node == l.config.Node
}

// fits says that the alias can be read back as it is.
func (a alias) fits() bool {
	back, ok := parseAlias(a.String())
	return ok && back == a && len(a.String()) <= maxAlias
}
