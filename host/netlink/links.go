// Package netlink makes, verifies, watches and removes the host's ends of the
// guests' NICs: taps, and the bridges that the node makes itself.
//
//	run-<n> ─▶ Ensure ── tap: owner, alias, MTU, bridge, up ─▶ the launcher opens it
//	        ─▶ Watch ─┐
//	                  ▼
//	follower ── one subscription for all VMs ── deleted ─▶ LinkNotice{Lost}
//	                  └──────────── down, moved, MTU ────▶ mended in place, told
//
// A link is ours by its alias: "blixard NODE VM INCARNATION" for a tap,
// "blixard NODE" for a bridge. What carries none of ours is never changed and
// never removed (P8). A tap becomes persistent only after it has its alias, so
// a crash at any line leaves a whole one or none.
//
// Everything happens in the network namespace of the process.
package netlink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"sync"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"go.uber.org/zap"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// Bridge is one that the node makes when a VM first wants it. It is never
// removed: others may have put ports into it.
type Bridge struct {
	Name    string
	Address netip.Prefix // the host's own address in it, such as 10.0.0.1/24; zero: none
}

// Config of Links.
type Config struct {
	// Node is the id of the node: letters, digits, _ . and -. Two nodes on one
	// machine never touch each other's links.
	Node    string
	Bridges []Bridge
	Log     *zap.Logger // nil: none

	patience time.Duration // how long Ensure waits for a dead VMM to let go of its tap; 0: 2 s
	buffer   int           // bytes of the subscription's socket; 0: 4 MiB
	pause    time.Duration // between two tries to mend or to subscribe; 0: 2 s
}

// Links is the host.Links of one node. Close it to end its watches.
type Links struct {
	config  Config
	bridges map[string]Bridge
	making  sync.Mutex // one at a time makes or restores bridges

	follower follower
}

var _ host.Links = (*Links)(nil)

var nodePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// New checks the configuration and touches nothing of the machine: a node whose
// VMs want no bridge needs neither privilege nor netlink.
func New(c Config) (*Links, error) {
	if !nodePattern.MatchString(c.Node) {
		return nil, fmt.Errorf("the node's id %.80q is not 1 to 64 letters, digits, _ . and -", c.Node)
	}
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	c.patience = orElse(c.patience, 2*time.Second)
	c.pause = orElse(c.pause, 2*time.Second)
	c.buffer = orElse(c.buffer, 4<<20)
	l := &Links{config: c, bridges: map[string]Bridge{}}
	l.follower.begin(l)
	for _, b := range c.Bridges {
		_, twice := l.bridges[b.Name]
		switch {
		case !vm.IsLinkName(b.Name):
			return nil, fmt.Errorf("bridge %.80q: a name has at most %d letters, digits, _ . and -, and begins with a letter or a digit", b.Name, vm.MaxLink)
		case twice:
			return nil, fmt.Errorf("bridge %s is named twice", b.Name)
		case b.Address != netip.Prefix{} && (!b.Address.IsValid() || b.Address.Addr().IsUnspecified() || b.Address.Addr().IsMulticast() || b.Address.Addr().Is4In6()):
			return nil, fmt.Errorf("bridge %s: %s is no address of a host, such as 10.0.0.1/24", b.Name, b.Address)
		}
		l.bridges[b.Name] = b
	}
	return l, nil
}

func orElse[T comparable](v, other T) T {
	var zero T
	if v == zero {
		return other
	}
	return v
}

// Close ends all watches and waits until nothing of ours runs; links stay as they are (P6).
func (l *Links) Close() { l.follower.end() }

// List returns the taps that carry this node's alias, those of built runners
// too. The node's bridges are not among them: they belong to no VM and are never
// removed.
func (l *Links) List(ctx context.Context) ([]vm.FoundLink, error) {
	links, err := listAll(ctx)
	if err != nil {
		return nil, failure("list links", err)
	}
	var out []vm.FoundLink
	for _, link := range links {
		id, number, ours := l.found(link.Attrs().Alias)
		if _, tap := asTap(link); tap && ours {
			out = append(out, vm.FoundLink{Name: link.Attrs().Name, Index: link.Attrs().Index, VM: id, Number: number})
		}
	}
	return out, nil
}

// listAll repeats a dump that changed under our hands.
func listAll(ctx context.Context) ([]rtnl.Link, error) {
	for range 10 {
		links, err := rtnl.LinkList()
		if !errors.Is(err, rtnl.ErrDumpInterrupted) {
			return links, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return nil, rtnl.ErrDumpInterrupted
}

// Remove removes the tap if it is still the one that was found. A running VMM's
// watch tells of it as of any other loss.
func (l *Links) Remove(_ context.Context, f vm.FoundLink) error {
	doing := "remove tap " + f.Name
	link, err := byIndex(f.Index)
	if errors.Is(err, errAbsent) {
		return nil
	}
	if err != nil {
		return failure(doing, err)
	}
	_, tap := asTap(link)
	a := link.Attrs()
	id, number, ours := l.found(a.Alias)
	if !tap || !ours || a.Name != f.Name || id != f.VM || number != f.Number { // P8
		return nil
	}
	return failure(doing, remove(link))
}
