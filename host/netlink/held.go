package netlink

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
)

// step is how often we look whether a tap was let go of: the kernel tells
// nobody but a subscriber, and it is a matter of microseconds mostly.
const step = 5 * time.Millisecond

// take holds an existing tap, and waits for a VMM that just died to let go of it.
// One with several queues can't be held as ours are, and is looked at only.
func (l *Links) take(ctx context.Context, name string, index int, queues bool) (tun.Tap, error) {
	if queues {
		return -1, l.released(ctx, name, index)
	}
	taken := tun.Tap(-1)
	err := l.patiently(ctx, name, func() (bool, error) {
		t, err := tun.Attach(name, tun.Flags)
		taken = t
		if errors.Is(err, unix.EBUSY) {
			return true, nil
		}
		return false, err
	})
	return taken, err
}

// released waits until nobody holds the tap. Ours may live on for a moment in a
// child that another launch is about to turn into a VMM.
func (l *Links) released(ctx context.Context, name string, index int) error {
	return l.patiently(ctx, name, func() (bool, error) {
		link, err := byIndex(index)
		if err != nil {
			return false, err
		}
		return held(link), nil
	})
}

// held says that a descriptor is open on the tap: one that is up has its
// carrier from its holder.
func held(link rtnl.Link) bool {
	const both = unix.IFF_UP | unix.IFF_LOWER_UP
	t, ok := asTap(link)
	return link.Attrs().RawFlags&both == both || ok && t.Queues > 0
}

func (l *Links) patiently(ctx context.Context, name string, busy func() (bool, error)) error {
	enough := time.NewTimer(l.config.patience)
	defer enough.Stop()
	for {
		is, err := busy()
		if err != nil || !is {
			return err
		}
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ctx.Err()
		case <-enough.C:
			return host.Fail(host.Transient, "take tap "+name, fmt.Errorf("it is held by %s", holder(name)))
		}
	}
}

// holder names the process that has the tap open, for people: where nobody in
// our network namespace has, it may be another namespace's tap of that name.
func holder(name string) string {
	here, _ := os.Readlink("/proc/self/ns/net")
	found := "a process that can't be seen from here"
	infos, _ := filepath.Glob("/proc/[0-9]*/fdinfo/*")
	for _, path := range infos {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text)+"\n", "iff:\t"+name+"\n") {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		found = fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(comm)))
		if there, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); there == here {
			break
		}
	}
	return found
}
