package notify

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
)

// takes, in the environment, makes this test binary a daemon that is given what
// stands at descriptor 3 and on; it serves one caller, or says why not.
const takes = "NOTIFY_TEST_TAKES"

func TestMain(m *testing.M) {
	if path := os.Getenv(takes); path != "" {
		take(path)
		return
	}
	os.Exit(m.Run())
}

func take(path string) {
	_ = os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid())) // a parent can't know it before the exec
	s, err := Open()
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		return
	}
	l, err := s.Listener(path)
	if err != nil || l == nil {
		_, _ = io.WriteString(os.Stdout, "refused: "+errorText(err))
		return
	}
	c, err := l.Accept()
	if err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error())
		return
	}
	_, _ = io.WriteString(c, strings.Join(leftOver(), " "))
	_ = c.Close()
	_ = l.Close()
}

func errorText(err error) string {
	if err == nil {
		return "nothing was given"
	}
	return err.Error()
}

// leftOver is what a child of ours would inherit.
func leftOver() []string {
	var out []string
	for _, kv := range os.Environ() {
		for _, name := range []string{"LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"} {
			if strings.HasPrefix(kv, name) {
				out = append(out, kv)
			}
		}
	}
	if flags, err := unix.FcntlInt(3, unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
		out = append(out, "descriptor 3")
	}
	return out
}

func shortFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// socketFile is a listening unix socket as a service manager holds it.
func socketFile(t *testing.T, path string) *os.File {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = f.Close(), l.Close() })
	return f
}

// daemonGiven starts this binary with the files from descriptor 3 on.
func daemonGiven(t *testing.T, path, names string, files ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), takes+"="+path, "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names,
		"NOTIFY_SOCKET=/nowhere", "WATCHDOG_USEC=1000000")
	cmd.ExtraFiles = files
	return cmd
}

func TestTheGivenSocketIsServedAndOutlivesTheDaemon(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	given := socketFile(t, path)
	for range 2 { // the second life is given the same socket
		caller, err := net.Dial("unix", path) // before anybody serves: it waits in the backlog
		if err != nil {
			t.Fatal(err)
		}
		if out, err := daemonGiven(t, path, "blixard.socket", given).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("the daemon said %q, %v", out, err)
		}
		inherited, err := io.ReadAll(caller)
		if err != nil || len(inherited) > 0 {
			t.Errorf("a child of the daemon would inherit %q, %v", inherited, err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the socket's file is not the daemon's to remove: %v", err)
		}
	}
}

func TestForeignSocketsAreRefusedInOneLine(t *testing.T) {
	dir := shortFolder(t)
	path := filepath.Join(dir, "s")
	ours, other := socketFile(t, path), socketFile(t, filepath.Join(dir, "other"))
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close() }()
	network, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = network.Close() }()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	connected := os.NewFile(uintptr(pair[0]), "pair")
	defer func() { _, _ = connected.Close(), unix.Close(pair[1]) }()
	plain, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()

	for name, c := range map[string]struct {
		files []*os.File
		says  string
	}{
		"another path":       {[]*os.File{other}, "gave the socket " + filepath.Join(dir, "other") + ` as "x.socket", this daemon's is ` + path},
		"two sockets":        {[]*os.File{ours, other}, "gave 2 sockets, this daemon has one: " + path},
		"a network socket":   {[]*os.File{network}, `"x.socket" is no listening unix socket: it is for tcp`},
		"a connected socket": {[]*os.File{connected}, "it does not listen"},
		"a file":             {[]*os.File{plain}, "socket operation on non-socket"},
		"nothing":            {nil, "nothing was given"},
	} {
		out, err := daemonGiven(t, path, "x.socket", c.files...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.says) || strings.Contains(string(out), "\n") {
			t.Errorf("%s: said %q (%v), want one line with %q", name, out, err, c.says)
		}
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a refused daemon removed the socket: %v", err)
	}
}

// listening is a service manager's end of NOTIFY_SOCKET.
func listening(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestWordsReachWhoeverStartedUs(t *testing.T) {
	for _, name := range []string{filepath.Join(shortFolder(t), "n"), "@blixard-notify-" + strconv.Itoa(os.Getpid())} {
		manager := listening(t, name)
		t.Setenv("NOTIFY_SOCKET", name)
		t.Setenv("WATCHDOG_USEC", "30000000")
		t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
		s, err := Open()
		if err != nil {
			t.Fatal(err)
		}
		if s.AliveEvery() != 15*time.Second {
			t.Errorf("alive every %v, want half of 30 s", s.AliveEvery())
		}
		for _, c := range []struct {
			say  func(string) error
			want string
		}{
			{s.Ready, "READY=1\nSTATUS=12 VMs, 11 up"},
			{s.Alive, "WATCHDOG=1\nSTATUS=12 VMs, 11 up"},
			{s.Stopping, "STOPPING=1\nSTATUS=12 VMs, 11 up"},
		} {
			if err := c.say("12 VMs, 11 up"); err != nil {
				t.Fatal(err)
			}
			if got := heard(t, manager); got != c.want {
				t.Errorf("the service manager heard %q, want %q", got, c.want)
			}
		}
	}
}

func TestAListenerThatReadsNothingHoldsNobodyUp(t *testing.T) {
	name := filepath.Join(shortFolder(t), "n")
	manager := listening(t, name)
	s := &Service{socket: name}
	began := time.Now()
	var err error
	for range 1000 { // net.unix.max_dgram_qlen is 10 where nobody raised it, and 512 where systemd did
		if err = s.Alive("busy"); err != nil {
			break
		}
	}
	if err == nil {
		t.Skip("skipped: this kernel queues a thousand datagrams")
	}
	if took := time.Since(began); host.KindOf(err) != host.Transient || took > 10*patience {
		t.Errorf("after %v: %v", took, err)
	}
	_ = manager.Close()
	if err := s.Alive("gone"); host.KindOf(err) != host.Transient {
		t.Errorf("to a service manager that is gone: %v", err)
	}
}

func TestNothingHappensWhereNobodyListens(t *testing.T) {
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"} {
		t.Setenv(name, "") // restored at the end
	}
	s, err := Open()
	if err != nil || s.AliveEvery() != 0 {
		t.Fatalf("%v, alive every %v", err, s.AliveEvery())
	}
	if l, err := s.Listener("/s"); l != nil || err != nil {
		t.Errorf("a socket from nowhere: %v, %v", l, err)
	}
	if err := errors.Join(s.Ready("a"), s.Alive("b"), s.Stopping("c")); err != nil {
		t.Error(err)
	}
}

func TestWhatIsMeantForAnotherProcessIsLeftAlone(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("WATCHDOG_USEC", "1000000")
	t.Setenv("WATCHDOG_PID", "1")
	s, err := Open()
	if err != nil || s.AliveEvery() != 0 || len(s.given) != 0 {
		t.Errorf("%v, alive every %v, %d sockets", err, s.AliveEvery(), len(s.given))
	}
}

func TestAWatchdogTimeThatIsNoneIsRefused(t *testing.T) {
	for _, word := range []string{"soon", "-1", "0", "99999999999999999999"} {
		t.Setenv("WATCHDOG_USEC", word)
		if _, err := Open(); host.KindOf(err) != host.Broken {
			t.Errorf("%q: %v", word, err)
		}
	}
}
