package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/blixard/blixard/cmd/blixard/specfile"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const outputFlag = "output"

// formats is a flag's annotation: what -o takes at this command.
const formats = "blixard/formats"

// outputs gives a command its -o; the first format is what it does without.
func outputs(cmd *cobra.Command, names ...string) *cobra.Command {
	cmd.Flags().StringP(outputFlag, "o", names[0], "output `FORMAT`: "+strings.Join(names, ", "))
	cmd.Flag(outputFlag).Annotations = map[string][]string{formats: names}
	_ = cmd.RegisterFlagCompletionFunc(outputFlag, cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func checkOutput(cmd *cobra.Command) error {
	f := cmd.Flag(outputFlag)
	if f == nil || f.Annotations == nil {
		return nil
	}
	if known := f.Annotations[formats]; !slices.Contains(known, f.Value.String()) {
		return misuse(cmd, "%q is no output format of %s, which has %s", f.Value, cmd.CommandPath(), strings.Join(known, ", "))
	}
	return nil
}

func outputOf(cmd *cobra.Command) string {
	if f := cmd.Flag(outputFlag); f != nil {
		return f.Value.String()
	}
	return ""
}

// printJSON writes a message: over several lines for a person, in one for a script.
func (c *cli) printJSON(m proto.Message) error {
	b, err := messages.JSON{}.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing json: %w", err)
	}
	if c.outIs {
		var wide bytes.Buffer
		if err := json.Indent(&wide, b, "", "  "); err != nil {
			return fmt.Errorf("writing json: %w", err)
		}
		b = wide.Bytes()
	}
	return c.print(append(harmless(b), '\n'))
}

// printJSONLine writes a message of a stream: one a line, for people too.
func (c *cli) printJSONLine(m proto.Message) error {
	b, err := messages.JSON{}.Marshal(m)
	if err != nil {
		return fmt.Errorf("writing json: %w", err)
	}
	return c.print(append(harmless(b), '\n'))
}

// printYAML writes a message as YAML, with specs as people write them.
func (c *cli) printYAML(m proto.Message) error {
	tree, err := yamlTree(m)
	if err != nil {
		return err
	}
	b, err := yaml.MarshalWithOptions(tree, yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("writing yaml: %w", err)
	}
	return c.print(vm.Visible(b))
}

func yamlTree(m proto.Message) (any, error) {
	if list, ok := m.(*blixardv1.ListVMsResponse); ok {
		vms := make([]any, 0, len(list.GetVms()))
		for _, v := range list.GetVms() {
			one, err := yamlTree(v)
			if err != nil {
				return nil, err
			}
			vms = append(vms, one)
		}
		return yaml.MapSlice{{Key: "vms", Value: vms}}, nil
	}
	b, err := messages.JSON{}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("writing yaml: %w", err)
	}
	tree, err := ordered(json.NewDecoder(bytes.NewReader(b)))
	if err != nil {
		return nil, fmt.Errorf("writing yaml: %w", err)
	}
	one, isVM := m.(*blixardv1.VM)
	if !isVM || one.GetSpec() == nil {
		return tree, nil
	}
	spec, err := messages.SpecFromProto(one.GetSpec())
	if err != nil {
		return nil, err
	}
	fields, _ := tree.(yaml.MapSlice)
	for i := range fields {
		if fields[i].Key == "spec" {
			fields[i].Value = specfile.Tree(spec)
		}
	}
	return fields, nil
}

// ordered reads one JSON value and keeps the order of its fields.
func ordered(d *json.Decoder) (any, error) {
	d.UseNumber()
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		m := yaml.MapSlice{}
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			m = append(m, yaml.MapItem{Key: key, Value: v})
		}
		_, err = d.Token()
		return m, err
	case json.Delim('['):
		l := []any{}
		for d.More() {
			v, err := ordered(d)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err = d.Token()
		return l, err
	}
	if n, ok := t.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return i, nil
		}
		return n.Float64()
	}
	return t, nil
}

// harmless writes the runes that a terminal may interpret as \uNNNN, which JSON
// reads as the same: protojson escapes only what is below space (P15).
func harmless(b []byte) []byte {
	if !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x7f }) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for _, r := range string(b) {
		seen := vm.Visible([]byte(string(r)))
		if r >= 0x7f && string(seen) != string(r) {
			if r > 0xffff {
				r -= 0x10000
				out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
				continue
			}
			out = fmt.Appendf(out, `\u%04x`, r)
			continue
		}
		out = append(out, string(r)...)
	}
	return out
}

func (c *cli) print(b []byte) error {
	c.progress.hide()
	if _, err := c.out.Write(b); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	return nil
}

func (c *cli) printf(format string, args ...any) error {
	return c.print(vm.Visible(fmt.Appendf(nil, format, args...)))
}
