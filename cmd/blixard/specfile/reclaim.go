package specfile

import (
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

// reclaim takes the word "never" too.
func (f *reader) reclaim(r *vm.Reclaim) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if word, ok := n.(*ast.StringNode); ok {
			if word.Value != vm.ReclaimNever {
				f.fail(placeOf(firstToken(n)), vm.ReclaimNever+", or {steps: [{do: suspend, after: 1h}]}",
					"%s is %s, the only short form is %s", path, cut(word.Value), vm.ReclaimNever)
			}
			return
		}
		f.object(path, n, fields{
			"steps": list(f, &r.Steps, f.reclaimStep),
			"keep":  nonzero(f, &r.Keep, f.percent, "10", ""),
			"idle": f.mapping(fields{
				"cpu":     nonzero(f, &r.Idle.CPU, f.share, "0.01", ""),
				"packets": nonzero(f, &r.Idle.Packets, f.number, "0.01", ""),
				"io":      nonzero(f, &r.Idle.IO, f.size, "1B", ""),
			}),
		})
	}
}

// share is a number of percent that needs not be whole; the sign may stand behind it.
func (f *reader) share(to *float64) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		word, ok := n.(*ast.StringNode)
		if !ok {
			f.number(to)(path, n)
			return
		}
		number, signed := strings.CutSuffix(word.Value, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !signed || err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			f.fail(placeOf(firstToken(n)), "2, or 2%", "%s is percent of a processor, this is %s", path, cut(word.Value))
			return
		}
		*to = v
	}
}

func (f *reader) reclaimStep(path string, n ast.Node) (s vm.ReclaimStep) {
	f.object(path, n, fields{"do": text(f, &s.Do), "after": nonzero(f, &s.After, f.duration, leastWait, "")})
	return s
}

func reclaimTree(r vm.Reclaim) any {
	if len(r.Steps) == 0 {
		return vm.ReclaimNever
	}
	var steps []any
	for _, s := range r.Steps {
		steps = append(steps, yaml.MapSlice{{Key: "do", Value: string(s.Do)}, {Key: "after", Value: vm.Span(s.After)}})
	}
	return yaml.MapSlice{
		{Key: "steps", Value: steps},
		{Key: "keep", Value: r.Keep},
		{Key: "idle", Value: yaml.MapSlice{
			{Key: "cpu", Value: r.Idle.CPU}, {Key: "packets", Value: r.Idle.Packets}, {Key: "io", Value: r.Idle.IO.String()},
		}},
	}
}
