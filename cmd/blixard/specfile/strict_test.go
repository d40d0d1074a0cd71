package specfile

import (
	"strings"
	"testing"
)

func TestAWrongConfigurationIsToldInOneLineWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"socket:\n  gruop: x\n":          `d.yaml:2:3: unknown field "gruop"; try: mend`,
		"socket:\n  group: [a, b]\n":     "d.yaml:2:10: ",
		"socket: {\n":                    "d.yaml:1:9: ",
		"socket:\n  group: \x1b[31m\xff": "d.yaml",
	} {
		var conf struct {
			Socket struct {
				Group string `yaml:"group"`
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
