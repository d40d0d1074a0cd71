package reach

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const (
	maxHeader    = 16 << 10 // of an answer; nginx sends some hundred bytes, an application with cookies a few KiB
	maxRaw       = maxHeader + 2*host.MaxBody
	maxRedirects = 5 // within one server: / → /login → /login/
	maxEarly     = 5 // answers of 1xx before the answer
)

// Get asks once.
func (Client) Get(ctx context.Context, c vm.Check) (string, error) {
	const doing = "ask the web server"
	to, err := url.Parse(c.URL)
	if err != nil {
		return "", host.Fail(host.Broken, doing, errNoURL)
	}
	began := time.Now()
	for hop := 0; ; hop++ {
		address, err := where(to)
		if err != nil {
			return "", host.Fail(host.Broken, doing, err)
		}
		a, err := ask(ctx, c, to, address)
		if err != nil {
			return a.status(), failed(ctx, doing, err)
		}
		if next := a.next(to); next != nil && hop < maxRedirects {
			to = next
			continue
		}
		seen := fmt.Sprintf("%s in %s", a.status(), since(began))
		return seen, host.Answered(c, a.code, a.body)
	}
}

var (
	errNoURL = errors.New("that is no URL")
	errNoIP  = errors.New("the host is neither an IP nor localhost, and nothing is resolved")
	errMuch  = errors.New("the answer's header is longer than 16 KiB, or its body never fits the 64 KiB that are read")
	errEarly = errors.New("the server says that an answer will come, again and again")
)

// where is the address to connect to.
func where(to *url.URL) (string, error) {
	port := to.Port()
	switch {
	case to.Scheme != "http" && to.Scheme != "https":
		return "", errNoURL
	case port != "":
	case to.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	name := to.Hostname()
	if name == "localhost" {
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	if _, err := netip.ParseAddr(name); err != nil {
		return "", errNoIP
	}
	return net.JoinHostPort(name, port), nil
}

// answer is what is kept of a response.
type answer struct {
	code     int // 0: none came
	location string
	body     []byte
}

func (a answer) status() string {
	if a.code == 0 {
		return ""
	}
	return host.Status(a.code)
}

// next is where the answer redirects to within the same server; nil: it doesn't.
// Where another server is named, the redirect is the answer: else a guest could
// make the daemon ask whom it likes.
func (a answer) next(from *url.URL) *url.URL {
	switch a.code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, err := from.Parse(a.location)
	if err != nil || a.location == "" || to.Scheme != from.Scheme || to.Host != from.Host {
		return nil
	}
	return to
}

// ask makes one connection and one request. net/http's transport isn't used: it
// logs what a server says unasked, and leaves two goroutines to each connection.
func ask(ctx context.Context, c vm.Check, to *url.URL, address string) (a answer, err error) {
	r, err := request(ctx, c, to)
	if err != nil {
		return a, err
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return a, err
	}
	defer raw.Close() // TLS's own goodbye waits for the peer
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn := raw
	if to.Scheme == "https" {
		secure := tls.Client(raw, &tls.Config{ServerName: to.Hostname(), InsecureSkipVerify: true}) //nolint:gosec // see the package
		if err := secure.HandshakeContext(ctx); err != nil {
			return a, err
		}
		conn = secure
	}
	if err := r.Write(conn); err != nil {
		return a, err
	}
	return read(conn, r, c.Body != "")
}

func request(ctx context.Context, c vm.Check, to *url.URL) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Close = true
	r.Header.Set("User-Agent", "blixard")
	r.Header.Set("Accept", "*/*")
	for _, h := range c.Headers {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			r.Host = h.Value // a line that the library writes from here
			continue
		}
		r.Header.Set(h.Name, h.Value)
	}
	return r, nil
}

// read takes the header of the answer, and its body where that is looked at.
func read(conn net.Conn, r *http.Request, whole bool) (a answer, err error) {
	in := &bounded{of: conn, left: maxHeader}
	b := bufio.NewReaderSize(in, 4<<10)
	var got *http.Response
	for early := 0; ; early++ {
		if got, err = http.ReadResponse(b, r); err != nil {
			return a, err
		}
		if got.StatusCode >= 200 || got.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		if early == maxEarly {
			return a, errEarly
		}
	}
	a.code, a.location = got.StatusCode, got.Header.Get("Location")
	if !whole {
		return a, nil
	}
	in.left = maxRaw // with what stands between the chunks
	a.body, err = io.ReadAll(io.LimitReader(got.Body, host.MaxBody))
	return a, err
}

// bounded fails once so much was read.
type bounded struct {
	of   io.Reader
	left int
}

func (b *bounded) Read(into []byte) (int, error) {
	if b.left <= 0 {
		return 0, errMuch
	}
	n, err := b.of.Read(into[:min(len(into), b.left)])
	b.left -= n
	return n, err
}
