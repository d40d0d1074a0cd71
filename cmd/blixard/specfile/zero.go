package specfile

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/blixard/blixard/vm"
)

// number is what a zero may stand in.
type number interface {
	int | float64 | time.Duration | vm.Bytes
}

// nonzero refuses a zero that somebody wrote. In a vm.Spec zero means "not
// said", so the default would take its place without a word.
func nonzero[T number](
	f *reader, to *T, read func(*T) func(string, ast.Node), least, instead string,
) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		if read(to)(path, n); f.problem == nil && n.Type() != ast.NullType && *to == 0 {
			f.fail(placeOf(firstToken(n)), or(instead, "leave it out for the default, or set it to "+least+" or more"),
				"%s is %s, the least that is allowed is %s", path, short(n), least)
		}
	}
}

// What to write where a zero means something that the field can't say.
const (
	atOnce    = "restart: {delays: [0s]}, which tries again at once"
	noRestart = "restart: {policy: never}, which never tries again"
	killNow   = "stop: {method: kill}, which doesn't ask the guest"
	bridgeMTU = "leave it out: the bridge's is taken"
)

const (
	leastWait  = "10ms"
	leastDelay = "1ms"
)

// delay reads the curve. Jitter alone may be zero: it is kept by writing the
// whole curve out beside it, which is how a spec says that.
func (f *reader) delay(d *vm.Delay) func(string, ast.Node) {
	return func(path string, n ast.Node) {
		even := false
		f.object(path, n, fields{
			"initial": nonzero(f, &d.Initial, f.duration, leastDelay, atOnce),
			"factor":  nonzero(f, &d.Factor, f.number, "1", "factor: 1, which keeps the delay as it is"),
			"max":     nonzero(f, &d.Max, f.duration, leastDelay, atOnce),
			"jitter": func(path string, n ast.Node) {
				f.number(&d.Jitter)(path, n)
				even = n.Type() != ast.NullType && d.Jitter == 0
			},
		})
		if even {
			*d = vm.Spec{Restart: vm.Restart{Delay: *d}}.Filled().Restart.Delay
			d.Jitter = 0
		}
	}
}
