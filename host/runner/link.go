package runner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host/tun"
)

// classNet is where the kernel tells of the links of our network namespace.
const classNet = "/sys/class/net"

// link is a link of the host as it was when it was looked at.
type link struct {
	name, alias string
	flags       uint16 // of a tap, without the one that says it persists; 0: it is no tap
}

// look returns nil where there is no link of that name.
func look(name string) *link {
	dir := filepath.Join(classNet, name)
	if _, err := os.Stat(dir); err != nil {
		return nil
	}
	l := &link{name: name}
	alias, err := os.ReadFile(filepath.Join(dir, "ifalias"))
	if err == nil {
		l.alias = strings.TrimSpace(string(alias))
	}
	text, err := os.ReadFile(filepath.Join(dir, "tun_flags"))
	if err != nil {
		return l
	}
	flags, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, 16)
	if err == nil && flags&unix.IFF_TAP != 0 {
		l.flags = uint16(flags) &^ unix.IFF_PERSIST
	}
	return l
}

// String says whose the link seems to be.
func (l *link) String() string {
	if l.alias != "" {
		return fmt.Sprintf("there is a link %s, marked %q", l.name, l.alias)
	}
	return fmt.Sprintf("there is a link %s, which isn't marked as this VM's", l.name)
}

func (l *link) mark(alias string) error {
	return os.WriteFile(filepath.Join(classNet, l.name, "ifalias"), []byte(alias), 0)
}

// give lets that user and group alone open the tap, besides root.
func (l *link) give(uid, gid int) error {
	return attached(l.name, l.flags, func(t tun.Tap) error { return t.Own(uid, gid) })
}

// remove ends the tap; one that a VMM still holds open is busy, or of several
// queues goes with the last of them.
func (l *link) remove() error {
	err := attached(l.name, l.flags, func(t tun.Tap) error { return t.Persist(false) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// makeTap makes a tap that stays, and sets it up.
func makeTap(name string, flags uint16) error {
	if l := look(name); l != nil { // ours, as was proved
		if err := l.remove(); err != nil {
			return err
		}
	}
	err := attached(name, flags, func(t tun.Tap) error { return t.Persist(true) })
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ask, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ask); err != nil {
		return fmt.Errorf("read its flags: %w", err)
	}
	ask.SetUint16(ask.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ask); err != nil {
		return fmt.Errorf("set it up: %w", err)
	}
	return nil
}

// attached opens the tap, makes it where there is none, and lets go of it again.
func attached(name string, flags uint16, work func(tun.Tap) error) error {
	t, err := tun.Attach(name, flags)
	if err != nil {
		return err
	}
	return errors.Join(work(t), t.Close())
}

// tapFlags are what the runner's VMM expects of its taps, by share/microvm/tap-flags.
func tapFlags(built string) (uint16, error) {
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	path := filepath.Join(built, "share/microvm/tap-flags")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return flags | unix.IFF_VNET_HDR, nil
	}
	if err != nil {
		return 0, fail("read "+path, err)
	}
	for word := range strings.FieldsSeq(string(text)) {
		switch word {
		case "vnet_hdr":
			flags |= unix.IFF_VNET_HDR
		case "multi_queue":
			flags |= unix.IFF_MULTI_QUEUE
		}
	}
	return flags, nil
}
