package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/test/node"
)

// peer is a systemd of its own on a machine of its own. It runs the command of
// our VMM as a transient unit with Restart=always and no delay.
type peer struct {
	*node.Machine
	n   *node.Node
	eye *marks
	log string
}

// newPeer boots it and starts the unit. The error says what is missing here.
func newPeer(ctx context.Context, n *node.Node, c command, mark string) (*peer, error) {
	m, err := node.NewMachine()
	if err != nil {
		return nil, err
	}
	p := &peer{Machine: m, n: n}
	if err := p.start(ctx, c, mark); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *peer) start(ctx context.Context, c command, mark string) (err error) {
	if err := p.Boot(ctx); err != nil {
		return err
	}
	p.log = filepath.Join(p.Root, "console-1.log")
	if p.eye, err = watchMarks(p.Root, mark); err != nil {
		return err
	}
	unit := []string{"systemd-run", "--unit=peer", "-p", "Restart=always", "-p", "RestartSec=0", "-p", "StartLimitIntervalSec=0", "--"}
	if _, err := p.Run(ctx, append(unit, p.argv(c)...)...); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err = p.eye.wait(ctx, 1); err != nil {
		status, _ := p.Run(context.WithoutCancel(ctx), "systemctl", "status", "--no-pager", "--full", "peer") // says why it isn't up
		return fmt.Errorf("%w: %s", err, status)
	}
	return nil
}

// argv is the command with sockets of its own instead of inherited ones, and
// its files where the machine sees them.
func (p *peer) argv(c command) []string {
	out := make([]string, len(c.argv))
	for i, word := range c.argv {
		word = strings.Replace(word, c.log, p.log, 1)
		word = fdWord.ReplaceAllStringFunc(word, func(fd string) string {
			return "path=" + filepath.Join(p.Root, strings.TrimPrefix(fd, "fd=")+".sock")
		})
		if strings.HasPrefix(word, p.n.Root+"/") { // a kernel or an initrd
			inside := filepath.Join(p.Root, filepath.Base(word))
			_ = os.Link(word, inside) // if it fails, the unit does, and says so
			word = inside
		}
		out[i] = word
	}
	return out
}

// recovers kills the unit's VMM; systemd does the rest.
func (p *peer) recovers(ctx context.Context) (time.Duration, error) {
	vmms := p.Processes(p.log)
	if len(vmms) != 1 {
		return 0, fmt.Errorf("the unit has %d VMMs", len(vmms))
	}
	if err := os.Truncate(p.log, 0); err != nil {
		return 0, err
	}
	p.eye.forget()
	began, err := signalled(vmms[0], unix.SIGKILL)
	if err != nil {
		return 0, err
	}
	at, err := p.eye.wait(ctx, 1)
	return at.Sub(began), err
}

// close ends the machine at once, with all that is in it. Repeating it is safe.
func (p *peer) close() error {
	if p.eye != nil {
		p.eye.close()
	}
	return p.Close()
}
