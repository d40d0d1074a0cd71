package reach

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// soon bounds what must not hang; a hostile server is given less below.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func check(url string) vm.Check { return vm.Check{Type: vm.CheckHTTP, URL: url, Status: "200-399"} }

// listen serves each connection by hand.
func listen(t *testing.T, network, address string, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("SKIP %s: %v", address, err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestConnect(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			address := listen(t, "tcp", at, func(net.Conn) {})
			if err := (Client{}).Connect(soon(t), address); err != nil {
				t.Errorf("%s takes connections, but: %v", address, err)
			}
		})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := (Client{}).Connect(soon(t), l.Addr().String()); host.KindOf(err) != host.Gone {
		t.Errorf("nobody listens: %v", err)
	}
	for _, bad := range []string{"", "localhost:22", "10.0.0.5", "10.0.0.5:ssh", "10.0.0.5:0", ":22", "10.0.0.5:99999", "/run/x.sock"} {
		if err := (Client{}).Connect(soon(t), bad); host.KindOf(err) != host.Broken {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A queue of connections that nobody takes is full after a few: the kernel
// drops what comes then, as a guest does that hangs.
func TestConnectIsBoundedInTime(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		began := time.Now()
		err := (Client{}).Connect(ctx, address)
		over := time.Since(began)
		cancel()
		if err == nil {
			// Keep it in the queue: the client's end is closed, the server's isn't.
			continue
		}
		if host.KindOf(err) != host.Transient || over < 250*time.Millisecond || over > 30*time.Second || !strings.Contains(err.Error(), "in time") {
			t.Errorf("after %s: %v", over, err)
		}
		return
	}
	t.Error("the kernel took 20 connections that nobody accepts into a queue for one")
}

func TestWhoseFailureItIs(t *testing.T) {
	for errno, want := range map[unix.Errno]host.Kind{
		unix.ECONNREFUSED: host.Gone, unix.ECONNRESET: host.Transient, unix.ETIMEDOUT: host.Transient,
		unix.ENETUNREACH: host.Denied, unix.ENETDOWN: host.Denied, unix.EMFILE: host.Denied, unix.EADDRNOTAVAIL: host.Denied, unix.EPERM: host.Denied,
		unix.EINVAL: host.Broken,
	} {
		err := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", errno)}
		if got := host.KindOf(failed(t.Context(), "connect", err)); got != want {
			t.Errorf("%v is of kind %d, want %d", errno, got, want)
		}
	}
}

// What a guest, or a router before it, can send back is ours only where the
// kernel has no route either.
func TestAGuestCannotSayThatThisMachineIsCutOff(t *testing.T) {
	for _, errno := range []unix.Errno{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EACCES} {
		for to, want := range map[string]host.Kind{
			"127.0.0.1:80": host.Transient,
			"[fe80::1]:80": host.Denied, // without an interface there is no route to it
		} {
			err := &net.OpError{Op: "dial", Addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(to)), Err: os.NewSyscallError("connect", errno)}
			if got := host.KindOf(failed(t.Context(), "connect", err)); got != want {
				t.Errorf("%v from %s is of kind %d, want %d", errno, to, got, want)
			}
		}
	}
}

// Closed by us is nobody's failure.
func TestGivenUpByUsProvesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Client{}).Connect(ctx, "127.0.0.1:1"); host.KindOf(err) != host.Denied {
		t.Errorf("connect: %v", err)
	}
	if _, err := (Client{}).Get(ctx, check("http://127.0.0.1:1/")); host.KindOf(err) != host.Denied {
		t.Errorf("get: %v", err)
	}
}

func TestGet(t *testing.T) {
	type asked struct{ method, host, agent, token, path string }
	var last asked
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = asked{r.Method, r.Host, r.UserAgent(), r.Header.Get("X-Token"), r.URL.RequestURI()}
		switch r.URL.Path {
		case "/sick":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/strange":
			w.WriteHeader(299)
		default:
			fmt.Fprint(w, "state: ready\n")
		}
	}))
	defer s.Close()

	seen, err := Client{}.Get(soon(t), check(s.URL+"/health?full=1"))
	if err != nil || !strings.HasPrefix(seen, "200 OK in ") || last != (asked{"GET", s.Listener.Addr().String(), "blixard", "", "/health?full=1"}) {
		t.Errorf("%q, %v, asked as %+v", seen, err, last)
	}

	c := check(s.URL)
	c.Headers = []vm.Header{{Name: "X-Token", Value: "abc"}, {Name: "host", Value: "web.example"}, {Name: "User-Agent", Value: "kube-probe"}}
	c.Status, c.Body = "200", "^state: (ready|busy)"
	if _, err := (Client{}).Get(soon(t), c); err != nil || last != (asked{"GET", "web.example", "kube-probe", "abc", "/"}) {
		t.Errorf("%v, asked as %+v", err, last)
	}

	for _, one := range []struct {
		path, status, body, seen, story string
	}{
		{"/sick", "200-399", "", "503 Service Unavailable in", "503 Service Unavailable, wanted is 200-399"},
		{"/", "204", "", "200 OK in", "200 OK, wanted is 204"},
		{"/", "200", "dead", "200 OK in", `200 OK, but "dead" isn't in its body: "state: ready\n"`},
		{"/strange", "200", "", "299 in", "it is 299, wanted"},
	} {
		seen, err := Client{}.Get(soon(t), vm.Check{URL: s.URL + one.path, Status: one.status, Body: one.body})
		if host.KindOf(err) != host.Transient || !strings.Contains(fmt.Sprint(err), one.story) || !strings.HasPrefix(seen, one.seen) {
			t.Errorf("%+v: %q, %v", one, seen, err)
		}
	}
}

func TestLocalhostNeedsNoNameServerAndOtherNamesAreNotResolved(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	if _, err := (Client{}).Get(soon(t), check("http://localhost:"+port+"/")); err != nil {
		t.Error(err)
	}
	six := listen(t, "tcp", "[::1]:0", serve204)
	if _, err := (Client{}).Get(soon(t), check("http://"+six+"/")); err != nil {
		t.Error(err)
	}
	if _, err := (Client{}).Get(soon(t), check("http://guest.example:"+port+"/")); host.KindOf(err) != host.Broken || !errors.Is(err, errNoIP) {
		t.Errorf("a name: %v", err)
	}
}

func TestCertificateIsNotVerified(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	if seen, err := (Client{}).Get(soon(t), check(s.URL)); err != nil {
		t.Errorf("%q, %v", seen, err)
	}
	if _, err := (Client{}).Get(soon(t), check(strings.Replace(s.URL, "https", "http", 1))); err == nil {
		t.Error("a server of TLS answered 400 to plain text, and that was well")
	}
}

// What the daemon's environment names isn't on the guest's way.
func TestProxyOfTheEnvironmentIsNotAsked(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	address := listen(t, "tcp", "127.0.0.1:0", serve204)
	if _, err := (Client{}).Get(soon(t), check("http://"+address)); err != nil {
		t.Error(err)
	}
}

func serve204(c net.Conn) {
	_, _ = c.Read(make([]byte, 4096))
	fmt.Fprint(c, "HTTP/1.1 204 No Content\r\n\r\n")
}

func TestRedirectsStayWithinTheServer(t *testing.T) {
	asked := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer other.Close()
	var rounds int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			http.Redirect(w, r, "/ready", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/scheme":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		case "/loop":
			rounds++
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	}))
	defer s.Close()
	for path, want := range map[string]string{"/": "200 OK", "/away": "302 Found", "/scheme": "302 Found", "/loop": "302 Found"} {
		seen, err := Client{}.Get(soon(t), check(s.URL+path))
		if err != nil || !strings.HasPrefix(seen, want) {
			t.Errorf("%s: %q, %v", path, seen, err)
		}
	}
	if asked || rounds > maxRedirects+1 {
		t.Errorf("another server was asked: %v; %d rounds", asked, rounds)
	}
}
