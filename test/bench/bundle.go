package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/test/node"
)

// afterTheRestart is longer than a bundle waits for the restart beside it, and takes.
const afterTheRestart = time.Second

// benchBundle kills a VMM whose console is as long as a bundle takes, and times
// the bundle, and the restart beside one where no bundle can be written.
func benchBundle(ctx context.Context, n *node.Node, s sizes) ([]figure, error) {
	p, err := pvhPair(ctx, n, "evidence")
	if err != nil {
		return nil, err
	}
	defer p.close()
	var with, without sample
	for range min(s.samples, mostPairs) {
		for _, one := range []struct {
			to  *sample
			way func() error
		}{{&with, func() error { return nil }}, {&without, p.barBundles}} {
			if err := errors.Join(p.fillConsole(ctx), one.way()); err != nil {
				return nil, err
			}
			took, err := p.recovers(ctx)
			if err := errors.Join(err, pass(ctx, afterTheRestart), p.letBundles()); err != nil {
				return nil, err
			}
			one.to.add(took)
		}
	}
	written, err := bundlesWritten(n.Log)
	if err == nil && len(written) < len(with) {
		err = fmt.Errorf("%d bundles were written for %d deaths", len(written), len(with))
	}
	return []figure{
		within("a bundle without a dump, 1 MiB of console", written, 20),
		beside("SIGKILL of a VMM until the next one's mark, with a bundle", with, without, "without one", 1.2),
	}, err
}

func (p *pair) vmFolder() string { return filepath.Join(p.n.State, "vms", p.name) }

// fillConsole makes the console's log as long as a bundle takes of it.
func (p *pair) fillConsole(ctx context.Context) error {
	vm, err := p.n.Wait(ctx, p.name, p.goal)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(p.vmFolder(), fmt.Sprintf("console-%d.log", vm.GetIncarnation())), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(bytes.Repeat([]byte("what a guest says, a line.\n"), int(host.BundleConsole)/27+1))
	return errors.Join(err, file.Close())
}

// barBundles puts a file where the folder of the bundles was.
func (p *pair) barBundles() error {
	folder := filepath.Join(p.vmFolder(), "crashes")
	if err := os.Rename(folder, folder+".away"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.WriteFile(folder, nil, 0o600)
}

func (p *pair) letBundles() error {
	folder := filepath.Join(p.vmFolder(), "crashes")
	if at, err := os.Lstat(folder); err != nil || at.IsDir() {
		return nil //nolint:nilerr // nothing is in its way
	}
	if err := os.Remove(folder); err != nil {
		return err
	}
	if err := os.Rename(folder+".away", folder); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// bundlesWritten are the times that the daemon's log tells of.
func bundlesWritten(log string) (out sample, err error) {
	file, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var line struct {
			Message string  `json:"msg"`
			Took    float64 `json:"took"` // seconds
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "the evidence of a death is kept" {
			out.add(time.Duration(line.Took * float64(time.Second)))
		}
	}
	return out, nil
}
