package arch

import "testing"

// rule is one house rule: it returns a sentence with the place for each breach.
type rule struct {
	name  string
	check func(source) []string
}

var rules = []rule{
	{"import arrows", arrows},
	{"adapters are named by the daemon alone", adapters},
	{"library homes", libraries},
	{"pure packages", purity},
	{"banned calls", calls},
	{"no sleep as synchronisation", sleeps},
	{"no init, no context in a struct", declarations},
	{"file length", fileLength},
	{"function length", functionLength},
	{"file names", fileNames},
	{"words", words},
	{"gofmt", formatted},
}

func TestHouseRules(t *testing.T) {
	all := tree(t)
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: the walk is broken", len(all))
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, s := range all {
				for _, breach := range r.check(s) {
					t.Error(breach)
				}
			}
		})
	}
}

// sample is a small source that a rule has to refuse, or to let through.
type sample struct {
	rule    string
	path    string
	text    string
	refused bool
}

func ruleNamed(t *testing.T, name string) rule {
	t.Helper()
	for _, r := range rules {
		if r.name == name {
			return r
		}
	}
	t.Fatalf("no rule is called %q", name)
	return rule{}
}

func TestEachRuleCanFail(t *testing.T) {
	caught := map[string]bool{}
	for _, one := range samples() {
		s, err := parse(one.path, []byte(one.text))
		if err != nil {
			t.Fatalf("%s: %v", one.path, err)
		}
		breaches := ruleNamed(t, one.rule).check(s)
		if one.refused && len(breaches) == 0 {
			t.Errorf("rule %q lets this through in %s:\n%s", one.rule, one.path, one.text)
		}
		if !one.refused && len(breaches) > 0 {
			t.Errorf("rule %q refuses this in %s: %v\n%s", one.rule, one.path, breaches, one.text)
		}
		caught[one.rule] = caught[one.rule] || one.refused
	}
	for _, r := range rules {
		if !caught[r.name] {
			t.Errorf("nothing proves that rule %q can fail", r.name)
		}
	}
}
