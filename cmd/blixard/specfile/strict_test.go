package specfile

import (
	"strconv"
	"strings"
	"testing"

	"github.com/blixard/blixard/vm"
)

// picky takes no text at all.
type picky struct{}

func (*picky) UnmarshalText(b []byte) error {
	return &vm.Refusal{Code: vm.Invalid, Why: strconv.Quote(string(b)) + " is no size", Try: "10MiB"}
}

func TestAWrongConfigurationIsToldInOneLineWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"socket:\n  gruop: x\n":          `d.yaml:2:3: unknown field "gruop"; try: mend`,
		"socket:\n  group: [a, b]\n":     "d.yaml:2:10: ",
		"socket: {\n":                    "d.yaml:1:9: ",
		"socket:\n  ratio: 200%\n":       `d.yaml:2:10: "200%" is no number, such as 1.5; try: mend`,
		"socket: 5\n":                    `d.yaml:1:9: "5" is no set of keys; try: mend`,
		"socket: {of: 10%, ratio: 2}\n":  `d.yaml:1:14: "10%" is no size; try: 10MiB`,
		"socket: {of: 1%, group: 1%}\n":  `d.yaml: "1%" is no size; try: 10MiB`,
		"socket:\n  group: \x1b[31m\xff": "d.yaml",
	} {
		var conf struct {
			Socket struct {
				Group string  `yaml:"group"`
				Ratio float64 `yaml:"ratio"`
				Of    picky   `yaml:"of"`
			} `yaml:"socket"`
		}
		err := Strict("d.yaml", []byte(text), &conf)
		if text[len(text)-1] == '\xff' && err == nil {
			continue // a text is a text
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if err := Strict("d.yaml", nil, &struct{}{}); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}
