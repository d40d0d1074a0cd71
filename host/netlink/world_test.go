package netlink

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	rtnl "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/tun"
	"github.com/blixard/blixard/vm"
)

// role is what a process of this test binary is: the one that was started, the
// same again in a network namespace of its own, or a helper of that one.
const role = "BLIXARD_NETLINK_TEST"

// TestMain runs the tests in a network namespace, which goes with the process:
// no thread has to be locked, and nothing is left behind however a test ends.
func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "inside":
		if err := ownSysfs(); err != nil {
			fmt.Println("a sysfs of the namespace's own:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	case "opener":
		os.Exit(opener(os.Args[1]))
	case "denied":
		os.Exit(denied())
	}
	if os.Geteuid() != 0 {
		fmt.Println("SKIP host/netlink: making network namespaces and taps needs root")
		return
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), role+"=inside")
	again.Stdout, again.Stderr = os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := again.Run()
	if again.ProcessState == nil {
		fmt.Println("SKIP host/netlink: no network namespace can be made here:", err)
		return
	}
	os.Exit(again.ProcessState.ExitCode())
}

// ownSysfs shows our namespace's links below /sys/class/net, where a launcher
// looks; the machine's own sysfs shows the machine's.
func ownSysfs() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Mount("sysfs", "/sys", "sysfs", 0, "")
}

// opener opens the tap as a VMM would, and tells how that went.
func opener(name string) int {
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(tun.Flags)
		err = unix.IoctlIfreq(3, unix.TUNSETIFF, request)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("open")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test lets go
	return 0
}

// as makes a command of this binary in another role and as an unprivileged user.
func as(t *testing.T, other string, uid, gid int, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	c.Env = []string{role + "=" + other}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), NoSetGroups: false}, Pdeathsig: syscall.SIGKILL}
	device, err := os.OpenFile(tun.Device, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { _ = device.Close() })
	c.ExtraFiles = []*os.File{device} // the device may be root's alone
	return c
}

const (
	node   = "4f2a"
	uid    = 2_010_000_003
	gid    = 2_010_000_003
	vmID   = vm.ID("0123456789abcdef")
	otherD = vm.ID("fedcba9876543210")
)

var (
	ref   = vm.Ref{VM: vmID, Name: "web-1", Slot: 3, Incarnation: 7, BootID: "b"}
	tap0  = host.LinkName(3, 0)
	tap1  = host.LinkName(3, 1)
	onBr0 = []vm.Network{{Mode: vm.NetworkBridge, Bridge: "br0"}}
)

func next(r vm.Ref) vm.Ref { r.Incarnation++; return r }

// links makes Links of the node; all that the test leaves behind is removed at its end.
func links(t *testing.T, bend func(*Config)) *Links {
	t.Helper()
	c := Config{Node: node, patience: 100 * time.Millisecond, pause: 50 * time.Millisecond}
	if bend != nil {
		bend(&c)
	}
	l, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		sweep(t)
	})
	return l
}

// sweep removes every link of the namespace that can be removed.
func sweep(t *testing.T) {
	t.Helper()
	all, err := rtnl.LinkList()
	if err != nil {
		t.Fatalf("list links: %v", err)
	}
	for _, link := range all {
		if a := link.Attrs(); link.Type() == "tuntap" || link.Type() == "tun" || link.Type() == "bridge" || link.Type() == "ifb" || strings.HasPrefix(a.Name, "blx") {
			if err := rtnl.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
				t.Errorf("remove %s: %v", a.Name, err)
			}
		}
	}
}

func makesBr0(c *Config) {
	c.Bridges = append(c.Bridges, Bridge{Name: "br0", Address: netip.MustParsePrefix("10.77.0.1/24")})
}

// addBridge makes a bridge of somebody else's.
func addBridge(t *testing.T, name string) rtnl.Link {
	t.Helper()
	return add(t, &rtnl.Bridge{LinkAttrs: attrs(name)})
}

func attrs(name string) rtnl.LinkAttrs {
	a := rtnl.NewLinkAttrs()
	a.Name = name
	return a
}

func add(t *testing.T, link rtnl.Link) rtnl.Link {
	t.Helper()
	must(t, rtnl.LinkAdd(link))
	got := get(t, link.Attrs().Name)
	must(t, rtnl.LinkSetUp(got))
	return get(t, got.Attrs().Name)
}

// addTap makes a tap of somebody else's.
func addTap(t *testing.T, name string, flags rtnl.TuntapFlag) rtnl.Link {
	t.Helper()
	link := &rtnl.Tuntap{LinkAttrs: attrs(name), Mode: rtnl.TUNTAP_MODE_TAP, Flags: flags}
	if flags&rtnl.TUNTAP_MULTI_QUEUE != 0 {
		link.Queues = 1
	}
	must(t, rtnl.LinkAdd(link))
	for _, f := range link.Fds {
		_ = f.Close()
	}
	return get(t, name)
}

func get(t *testing.T, name string) rtnl.Link {
	t.Helper()
	link, err := byName(name)
	if err != nil {
		t.Fatalf("look for %s: %v", name, err)
	}
	return link
}

func gone(t *testing.T, name string) {
	t.Helper()
	if link, err := byName(name); !errors.Is(err, errAbsent) {
		t.Errorf("%s is there, or can't be looked for: %v, %v", name, link, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ensure is Ensure that has to succeed.
func ensure(t *testing.T, l *Links, r vm.Ref, nics []vm.Network) []string {
	t.Helper()
	told, err := l.Ensure(t.Context(), r, nics, uid, gid)
	if err != nil {
		t.Fatalf("ensure %d: %v", r.Incarnation, err)
	}
	return told
}

// holdTap is a VMM that has the tap open.
func holdTap(t *testing.T, name string) tun.Tap {
	t.Helper()
	held, err := tun.Attach(name, tun.Flags)
	if err != nil {
		t.Fatalf("open tap %s: %v", name, err)
	}
	t.Cleanup(func() { _ = held.Close() })
	return held
}

// whole compares a tap with what Ensure promises.
func whole(t *testing.T, name string, r vm.Ref, bridge string, mtu int) {
	t.Helper()
	tap, ok := asTap(get(t, name))
	if !ok {
		t.Fatalf("%s is no tap", name)
	}
	a := tap.Attrs()
	alias := fmt.Sprintf("blixard %s %s %d", node, r.VM, r.Incarnation)
	flags := rtnl.TUNTAP_NO_PI | rtnl.TUNTAP_VNET_HDR
	if a.Alias != alias || tap.Owner != uid || tap.Group != gid || a.MTU != mtu || tap.NonPersist || tap.Flags != flags ||
		a.RawFlags&unix.IFF_UP == 0 || a.MasterIndex != get(t, bridge).Attrs().Index {
		t.Errorf("%s is not whole: alias %q, owner %d:%d, mtu %d, nonpersistent %v, flags %#x, up %v, in %s",
			name, a.Alias, tap.Owner, tap.Group, a.MTU, tap.NonPersist, tap.Flags, a.RawFlags&unix.IFF_UP != 0, nameOfMaster(a.MasterIndex))
	}
	addresses, err := rtnl.AddrList(tap, rtnl.FAMILY_ALL)
	must(t, err)
	if len(addresses) > 0 {
		t.Errorf("the host has addresses on %s: %v", name, addresses)
	}
}

// notices collects what a watch tells.
type notices struct {
	mu   sync.Mutex
	all  []host.LinkNotice
	more chan struct{}
}

func (n *notices) tell(one host.LinkNotice) {
	n.mu.Lock()
	n.all = append(n.all, one)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

func (n *notices) told() []host.LinkNotice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]host.LinkNotice(nil), n.all...)
}

// await returns the first notice that has the words in it.
func (n *notices) await(t *testing.T, lost bool, words string) host.LinkNotice {
	t.Helper()
	late := time.After(20 * time.Second) // far beyond the second that is promised: the machine may be loaded
	for {
		for _, one := range n.told() {
			if one.Lost == lost && strings.Contains(one.Why, words) {
				return one
			}
		}
		select {
		case <-n.more:
		case <-late:
			t.Fatalf("nothing was told of %q (lost: %v), but: %+v", words, lost, n.told())
		}
	}
}

// breaks returns the first notice of a tap that is cut off that has the words
// in it, and the one that told it whole, which has to be the last.
func (n *notices) breaks(t *testing.T, words string) {
	t.Helper()
	all := n.told()
	i := slices.IndexFunc(all, func(one host.LinkNotice) bool { return one.Broken && strings.Contains(one.Why, words) })
	if i < 0 || all[len(all)-1].Broken {
		t.Errorf("not told as cut off by %q and then as whole: %+v", words, all)
	}
}

// watch watches the VM's taps and returns when they have been looked at.
func watchTaps(t *testing.T, l *Links, r vm.Ref, nics []vm.Network) *notices {
	t.Helper()
	n := &notices{more: make(chan struct{}, 1)}
	t.Cleanup(l.Watch(r, nics, n.tell))
	settled(t, l)
	return n
}

// settled waits until the follower has looked at every tap that it watches.
func settled(t *testing.T, l *Links) {
	t.Helper()
	eventually(t, "the follower looks at all taps", func() bool {
		l.follower.mu.Lock()
		defer l.follower.mu.Unlock()
		return len(l.follower.indexes) == len(l.follower.taps) && len(l.follower.look) == 0
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !is() {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
