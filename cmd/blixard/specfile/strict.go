package specfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"github.com/blixard/blixard/vm"
)

// Strict reads a small YAML file of ours, such as the daemon's configuration,
// into out: an unknown key is an error that shows its line.
func Strict(file string, text []byte, out any) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(out)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return &vm.Refusal{
		Code: vm.Invalid, Why: fmt.Sprintf("%s: %s", file, yaml.FormatError(err, false, true)),
		Try: "mend the line that is shown; every key stands in docs/configuration.md",
	}
}
