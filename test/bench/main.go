// Command bench prints what a node costs beside its floor: the same QEMU
// command started by hand, in the same run, samples interleaved. Its figures
// are ratios; the absolute times belong to the machine.
//
//	BLIXARD_BIN=bin/blixard go run ./test/bench [-only WORD] [-samples N] [-many N]
//
// Every load is bounded in time and count, and what was started is ended.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/blixard/blixard/test/node"
)

// sizes bound the benches.
type sizes struct {
	samples int // of each figure that takes under a second
	many    int // VMs of the figures about scale
}

// bench measures some figures on a node of its own.
type bench struct {
	name string
	run  func(ctx context.Context, n *node.Node, s sizes) ([]figure, error)
}

var benches = []bench{
	{"start", benchStart},
	{"builtin", benchBuiltin},
	{"together", benchTogether},
	{"recover", benchRecover},
	{"stopped", benchStopped},
	{"scale", benchScale},
	{"simulator", benchSimulator},
}

func main() {
	only := flag.String("only", "", "only the benches whose name holds this word")
	var s sizes
	flag.IntVar(&s.samples, "samples", 21, "samples of each quick figure")
	flag.IntVar(&s.many, "many", 1000, "VMs of the figures about scale")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, *only, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run prints each bench's rows as they come; one that can't run here says why, and the others go on.
func run(ctx context.Context, only string, s sizes) error {
	printHead(os.Stdout)
	var missed error
	for _, b := range benches {
		if !strings.Contains(b.name, only) {
			continue
		}
		figures, err := measure(ctx, b, s)
		for _, f := range figures {
			f.write(os.Stdout)
		}
		if err != nil {
			fmt.Printf("skipped: the rest of %q, because %v\n", b.name, err)
			missed = errors.Join(missed, fmt.Errorf("%s: %w", b.name, err))
		}
	}
	return missed
}

func measure(ctx context.Context, b bench, s sizes) (figures []figure, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	n, err := node.New(node.Options{})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; the daemon wrote: %s", err, n.LogTail(600))
		}
		err = errors.Join(err, n.Close())
	}()
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return b.run(ctx, n, s)
}
