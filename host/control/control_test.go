package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/vm"
)

// lives, in the environment, makes this test binary a daemon that listens on
// the path and waits; calls makes it a client that prints what it hears.
const lives, calls = "CONTROL_TEST_LIVES", "CONTROL_TEST_CALLS"

func TestMain(m *testing.M) {
	if path := os.Getenv(lives); path != "" {
		_, err := Listen(path, 0o660, "")
		fmt.Println("listening", err)
		_, _ = io.ReadAll(os.Stdin)
		return
	}
	if path := os.Getenv(calls); path != "" {
		res, err := client(path, false).Get("http://node/")
		if err != nil {
			fmt.Println(err)
			return
		}
		_, _ = io.Copy(os.Stdout, res.Body)
		return
	}
	os.Exit(m.Run())
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

func client(path string, h2 bool) *http.Client {
	p := &http.Protocols{}
	p.SetHTTP1(!h2)
	p.SetUnencryptedHTTP2(h2)
	return &http.Client{Transport: &http.Transport{Protocols: p, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

func serve(t *testing.T, path string, h http.Handler) *Server {
	t.Helper()
	l, err := Listen(path, 0o666, "")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(h, nil)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	return s
}

func refusal(t *testing.T, err error, code vm.Code, says string) {
	t.Helper()
	r, ok := errors.AsType[*vm.Refusal](err)
	if !ok || r.Code != code || !strings.Contains(r.Why, says) || r.Try == "" {
		t.Errorf("%v is not the refusal %s with %q", err, code, says)
	}
}

func TestASocketOfALiveDaemonIsRefusedAndADeadOnesReplaced(t *testing.T) {
	path := filepath.Join(shortFolder(t), "run", "s")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), lives+"="+path)
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	heard := make([]byte, 64)
	if n, err := stdout.Read(heard); err != nil || !strings.HasPrefix(string(heard[:n]), "listening <nil>") {
		t.Fatalf("the first daemon: %s %v", heard[:n], err)
	}
	_, err := Listen(path, 0o660, "")
	refusal(t, err, vm.Exists, "belongs to a daemon that lives")

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if _, err := os.Lstat(path); err != nil {
		t.Fatalf("a killed daemon leaves its socket: %v", err)
	}
	l, err := Listen(path, 0o640, "0")
	if err != nil {
		t.Fatalf("what a dead daemon left is not replaced: %v", err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o640 || st.Sys().(*syscall.Stat_t).Gid != 0 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an orderly end leaves no socket: %v", err)
	}
}

func TestOfManyThatStartAtOnceOneWins(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	for round := range 6 { // the losers of each wait as long as a dying child may hold the path
		var wg sync.WaitGroup
		won := make(chan net.Listener, 8)
		for range 8 {
			wg.Go(func() {
				l, err := Listen(path, 0o660, "")
				if err == nil {
					won <- l
					return
				}
				refusal(t, err, vm.Exists, path)
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d winners", round, len(won))
		}
		l := (<-won).(*listener)
		if round%2 == 0 {
			l.SetUnlinkOnClose(false) // as a crash leaves it
		}
		_ = l.Close()
	}
}

func TestPathsThatCantBeASocketAreRefused(t *testing.T) {
	dir := shortFolder(t)
	long := filepath.Join(dir, strings.Repeat("x", 108-len(dir)-1))
	_, err := Listen(long, 0o660, "")
	refusal(t, err, vm.Invalid, "108 bytes, a unix socket's has at most 107")
	if l, err := Listen(long[:107], 0o660, ""); err != nil {
		t.Errorf("107 bytes: %v", err)
	} else {
		_ = l.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(file, 0o660, "")
	refusal(t, err, vm.Invalid, "is no socket")
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("what was not ours was touched: %q %v", b, err)
	}
	_, err = Listen(filepath.Join(dir, "g"), 0o660, "no-such-group-here")
	refusal(t, err, vm.Invalid, "no-such-group-here")
	if _, err = Listen(filepath.Join(file, "s"), 0o660, ""); err == nil {
		t.Error("a socket below a file")
	}
}

func TestALockFileThatWasDeletedDoesNotMakeTwoDaemons(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	l, err := Listen(path, 0o660, "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(path, 0o660, "")
	refusal(t, err, vm.Exists, path)
}

func TestTheKernelNamesThePeer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: only root can call as somebody else")
	}
	dir := shortFolder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := messages.PeerFrom(r.Context())
		slices.Sort(p.Groups)
		_, _ = fmt.Fprint(w, ok, p.Caller.UID, p.Caller.GID, p.Caller.PID > 0, len(p.Groups), p.Groups[:min(3, len(p.Groups))])
	}))
	many := make([]uint32, 300) // more than the first room
	for i := range many {
		many[i] = uint32(5000 + i)
	}
	for want, c := range map[string]syscall.Credential{
		"true 1234 1235 true 3 [7 8 9]":      {Uid: 1234, Gid: 1235, Groups: []uint32{9, 7, 8}},
		"true 1234 1235 true 0 []":           {Uid: 1234, Gid: 1235},
		"true 0 0 true 300 [5000 5001 5002]": {Groups: many},
	} {
		cmd := exec.CommandContext(t.Context(), copied(t, dir))
		cmd.Env = append(os.Environ(), calls+"="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &c}
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("heard %q (%v), want %q", out, err, want)
		}
	}
}

// copied puts this binary where every user may run it.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(dir, "caller")
	if _, err := os.Stat(to); err == nil {
		return to
	}
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(to, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestShutdownEndsWithStreamsOpen leaves streams of both kinds open: some heed
// their context, one doesn't.
func TestShutdownEndsWithStreamsOpen(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	deaf := make(chan struct{})
	defer close(deaf)
	s := serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/deaf" {
			<-deaf
			return
		}
		<-r.Context().Done()
	}))
	for _, h2 := range []bool{false, true} {
		c := client(path, h2)
		for i := range 20 {
			url := "http://node/stream"
			if i == 0 {
				url = "http://node/deaf"
			}
			res, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			if (res.ProtoMajor == 2) != h2 {
				t.Errorf("protocol %s, want http/2: %v", res.Proto, h2)
			}
			defer func() { _ = res.Body.Close() }()
		}
	}
	began := time.Now()
	s.Shutdown(context.Background())
	if took := time.Since(began); took > 20*time.Second { // far beyond what is promised: the machine may be loaded
		t.Errorf("it took %s", took)
	}
	s.Shutdown(context.Background())
}

func TestARequestUnderWayMayEndWhenWeStop(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	inside, stopping := make(chan struct{}), make(chan struct{})
	s := serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(inside)
		<-stopping
		if r.Context().Err() == nil {
			_, _ = io.WriteString(w, "durable")
		}
	}))
	s.http.RegisterOnShutdown(sync.OnceFunc(func() { close(stopping) }))
	got := make(chan string, 1)
	go func() {
		res, err := client(path, false).Get("http://node/")
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-inside
	s.Shutdown(context.Background())
	if answer := <-got; answer != "durable" {
		t.Errorf("the request under way ended with %q", answer)
	}
}

// closer answers when it is closed, as the gateway's streams do.
type closer struct {
	closed chan struct{}
	once   sync.Once
	inside chan struct{}
}

func (c *closer) Close() { c.once.Do(func() { close(c.closed) }) }

func (c *closer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	close(c.inside)
	<-c.closed
	_, _ = fmt.Fprintf(w, "the daemon is stopping, and the request %v", r.Context().Err())
}

func TestStreamsHearOfTheEndFirst(t *testing.T) {
	path := filepath.Join(shortFolder(t), "s")
	c := &closer{closed: make(chan struct{}), inside: make(chan struct{})}
	s := serve(t, path, c)
	got := make(chan string, 1)
	go func() {
		res, err := client(path, true).Get("http://node/")
		if err != nil {
			got <- err.Error()
			return
		}
		b, _ := io.ReadAll(res.Body)
		got <- string(b)
	}()
	<-c.inside
	s.Shutdown(context.Background())
	if answer := <-got; answer != "the daemon is stopping, and the request <nil>" { // contexts end a second later
		t.Errorf("the stream ends with %q", answer)
	}
}

func TestAUserCantTakeAllConnections(t *testing.T) {
	l := &listener{perUser: map[int]int{}}
	for n := range maxConnsPerUser {
		if !l.admit(1234567) {
			t.Fatalf("refused after %d", n)
		}
	}
	if l.admit(1234567) || !l.admit(0) || !l.admit(7) {
		t.Error("one user's limit is that user's alone")
	}
	l.leave(1234567)
	if !l.admit(1234567) {
		t.Error("a closed connection frees its place")
	}
	for l.admit(0) {
	}
	if l.all != maxConns {
		t.Errorf("%d connections, at most %d", l.all, maxConns)
	}
}
