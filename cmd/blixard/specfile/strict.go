package specfile

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/blixard/blixard/vm"
)

// Strict reads a small YAML file of ours, such as the daemon's configuration,
// into out: an unknown key is an error of one line, with its place.
func Strict(file string, text []byte, out any) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(out)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	p := &Problem{File: file, Try: "mend that line; every key stands in docs/configuration.md"}
	p.Why, _, _ = strings.Cut(err.Error(), "\n")
	if broken, ok := errors.AsType[yaml.Error](err); ok {
		at := placeOf(broken.GetToken())
		p.Line, p.Column = at.line, at.column
		p.Why, _, _ = strings.Cut(broken.GetMessage(), "\n")
	}
	if len(p.Why) > 200 {
		p.Why = p.Why[:200]
	}
	p.Why = string(vm.Visible([]byte(strings.ToValidUTF8(p.Why, "?"))))
	return p.Refusal()
}
