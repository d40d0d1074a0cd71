package reach

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
)

// hostile servers: what each sends until the connection is closed.
var hostile = map[string]func(c net.Conn){
	"answers unasked":   func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") },
	"hangs up":          func(net.Conn) {},
	"says nothing":      func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	"garbage":           func(c net.Conn) { fmt.Fprint(c, "\x00\x1b[2J\xff nonsense\r\n\r\n") },
	"endless line":      func(c net.Conn) { flood(c, "x") },
	"endless header":    func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n"); flood(c, "X-More: and more\r\n") },
	"endless value":     func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX: "); flood(c, "y") },
	"endless continues": func(c net.Conn) { flood(c, "HTTP/1.1 100 Continue\r\n\r\n") },
	"endless hints":     func(c net.Conn) { flood(c, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") },
	"switches": func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
		flood(c, "z")
	},
	"half a status":   func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 20") },
	"strange status":  func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 99999 \x1b]0;owned\x07\r\n\r\n") },
	"negative length": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n") },
	"chunk of lies": func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n")
	},
	"short body":   func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab") },
	"slow header":  func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nX-Slow: ") },
	"slow body":    func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n"); drip(c, "") },
	"endless body": func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n"); flood(c, "no") },
	"a bomb": func(c net.Conn) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b")
		flood(c, "\x00")
	},
}

func flood(c net.Conn, piece string) {
	all := []byte(strings.Repeat(piece, 4096/len(piece)))
	for sent := 0; sent < 256<<20; sent += len(all) {
		if _, err := c.Write(all); err != nil {
			return
		}
	}
}

// drip sends a byte whenever the reader could have read the last one.
func drip(c net.Conn, first string) {
	fmt.Fprint(c, first)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if _, err := c.Write([]byte("a")); err != nil {
			tick.Stop()
			return
		}
	}
}

func TestHostileServersAreBounded(t *testing.T) {
	for what, serve := range hostile {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			address := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				serve(c)
			})
			c := check("http://" + address)
			c.Body = "healthy"
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			seen, err := Client{}.Get(ctx, c)
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			if err == nil || host.KindOf(err) != host.Transient {
				t.Errorf("it is well: %q, %v", seen, err)
			}
			if text := seen + fmt.Sprint(err); len(text) > 500 || strings.ContainsAny(text, "\x00\x1b\n\r\x07") {
				t.Errorf("%d bytes are told: %q", len(text), text)
			}
		})
	}
}

// What a flood makes us hold: a header and a body, and no more.
func TestFloodTakesLittleMemory(t *testing.T) {
	for _, what := range []string{"endless header", "endless value", "endless body", "endless line"} {
		address := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			hostile[what](c)
		})
		c := check("http://" + address)
		c.Body = "healthy"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := (Client{}).Get(soon(t), c); err == nil {
			t.Errorf("%s: it is well", what)
		}
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
			t.Errorf("%s took %d KiB", what, grown>>10)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	defer s.Close()
	get := func() {
		c := check(s.URL)
		c.Body = "ok"
		if _, err := (Client{}).Get(soon(t), c); err != nil {
			t.Fatal(err)
		}
	}
	get()
	before := runtime.NumGoroutine()
	for range 50 {
		get()
	}
	for until := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+10; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines, at first %d", runtime.NumGoroutine(), before)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, one := range []string{"HTTP/1.1 200 OK\r\n\r\nhealthy", "HTTP/1.0 302 F\r\nLocation: /\r\n\r\n", "\r\n", "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"} {
		f.Add([]byte(one))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		address := listen(t, "tcp", "127.0.0.1:0", func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write(answer)
		})
		c := check("http://" + address)
		c.Body = "healthy"
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		seen, err := Client{}.Get(ctx, c)
		if text := seen + fmt.Sprint(err); len(text) > 500 || strings.ContainsAny(text, "\x00\x1b\n\r\x07") {
			t.Errorf("told: %q", text)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	for b.Loop() {
		if _, err := (Client{}).Get(b.Context(), check(s.URL)); err != nil {
			b.Fatal(err)
		}
	}
}
