// Command bench prints what a node costs beside its floor (the same QEMU
// command started by hand) or a peer, in the same run, samples interleaved. Its
// figures are ratios; the absolute times belong to the machine.
//
//	BLIXARD_BIN=bin/blixard go run ./test/bench [-samples N] [-many N] [GROUP…]
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
	"slices"
	"syscall"
	"time"

	"github.com/blixard/blixard/test/node"
)

// sizes bound the benches.
type sizes struct {
	samples int // of each figure that takes under a second
	many    int // VMs of the figures about scale
}

// rounds is the number of samples of a figure that takes that many times as long as a quick one.
func (s sizes) rounds(dearer int) int { return max(3, s.samples/dearer) }

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
	{"admit", benchAdmit},
	{"boot", benchBoot},
	{"adopt", benchAdopt},
	{"reconcile", benchReconcile},
	{"restart", benchRestart},
	{"libvirt", benchLibvirt},
	{"density", benchDensity},
	{"sample", benchSampling},
	{"suspend", benchSuspend},
	{"notice", benchNotice},
	{"probe", benchProbing},
	{"bundle", benchBundle},
}

func main() {
	var s sizes
	flag.IntVar(&s.samples, "samples", 21, "samples of each quick figure")
	flag.IntVar(&s.many, "many", 1000, "VMs of the figures about scale")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, flag.Args(), s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// chosen are the groups of those names, or all where none is named.
func chosen(names []string) ([]bench, error) {
	if len(names) == 0 {
		return benches, nil
	}
	var out []bench
	for _, name := range names {
		i := slices.IndexFunc(benches, func(b bench) bool { return b.name == name })
		if i < 0 {
			var known []string
			for _, b := range benches {
				known = append(known, b.name)
			}
			return nil, fmt.Errorf("no group is called %q; there are %q", name, known)
		}
		out = append(out, benches[i])
	}
	return out, nil
}

// progress tells, beside the figures, how far a group is that takes minutes.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// run prints each bench's rows as they come; one that can't run here says why, and the others go on.
func run(ctx context.Context, names []string, s sizes) error {
	groups, err := chosen(names)
	if err != nil {
		return err
	}
	printHead(os.Stdout)
	var missed error
	for _, b := range groups {
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
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
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
