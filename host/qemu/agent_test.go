package qemu

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
)

// fakeAgent is the guest's side of the wire, as a test plays it.
type fakeAgent struct {
	conn net.Conn
	in   *bufio.Reader
}

type agentRequest struct {
	Execute   string
	Arguments struct {
		ID   int64    `json:"id"`
		Path string   `json:"path"`
		Arg  []string `json:"arg"`
		Mode string   `json:"mode"`
		PID  int      `json:"pid"`
	}
}

// next reads one request; what stands before 0xFF is thrown away, as an agent does.
func (f *fakeAgent) next() (r agentRequest) {
	line, err := f.in.ReadBytes('\n')
	if err != nil {
		return r
	}
	_ = json.Unmarshal(line[bytes.LastIndexByte(line, 0xff)+1:], &r)
	return r
}

func (f *fakeAgent) say(format string, args ...any) { fmt.Fprintf(f.conn, format, args...) }

// sync answers a synchronisation.
func (f *fakeAgent) sync() {
	if r := f.next(); r.Execute == "guest-sync-delimited" {
		f.say("\xff{\"return\": %d}\n", r.Arguments.ID)
	}
}

// openAgent connects to an agent that does what play says, and then is silent until the test ends.
func openAgent(t *testing.T, play func(f *fakeAgent)) host.AgentConn {
	t.Helper()
	path, far := wire(t)
	go func() {
		conn := far()
		if conn == nil {
			return
		}
		play(&fakeAgent{conn: conn, in: bufio.NewReader(conn)})
		_, _ = io.Copy(io.Discard, conn)
	}()
	conn, err := Agent{}.Open(deadline(t), host.Paths{Agent: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func briefly(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestHostileAgents: whatever a guest says, a ping ends with a failure of the right kind by its deadline.
func TestHostileAgents(t *testing.T) {
	for name, c := range map[string]struct {
		play func(f *fakeAgent)
		want host.Kind
	}{
		"silent":            {func(*fakeAgent) {}, host.Transient},
		"garbage":           {func(f *fakeAgent) { f.next(); f.say("\x1b[2J\xff\xff{\xff}\n\xff{}\n") }, host.Transient},
		"half a line":       {func(f *fakeAgent) { f.next(); f.say(`{"return": 1`) }, host.Transient},
		"another's id":      {func(f *fakeAgent) { f.say("\xff{\"return\": %d}\n", f.next().Arguments.ID-1) }, host.Transient},
		"an id as text":     {func(f *fakeAgent) { f.say("\xff{\"return\": \"%d\"}\n", f.next().Arguments.ID) }, host.Transient},
		"hangs up":          {func(f *fakeAgent) { f.next(); _ = f.conn.Close() }, host.Gone},
		"flood of lines":    {func(f *fakeAgent) { f.flood("{\"return\": 1}\n") }, host.Transient},
		"flood, no newline": {func(f *fakeAgent) { f.flood("{\"return\": [") }, host.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if c.want == host.Gone {
				ctx = deadline(t) // it ends by itself, however late on a busy machine
			}
			if err := openAgent(t, c.play).Ping(ctx); err == nil || host.KindOf(err) != c.want {
				t.Errorf("ping: %v, want kind %d", err, c.want)
			}
		})
	}
}

// flood never ends while somebody reads.
func (f *fakeAgent) flood(s string) {
	b := []byte(strings.Repeat(s, 4096/len(s)))
	for {
		if _, err := f.conn.Write(b); err != nil {
			return
		}
	}
}

// TestFloodEndsByItsBytes: with all the time in the world, a flood is given up after maxNoise.
func TestFloodEndsByItsBytes(t *testing.T) {
	conn := openAgent(t, func(f *fakeAgent) { f.flood("x") })
	if err := conn.Ping(deadline(t)); !errors.Is(err, errNoise) {
		t.Errorf("ping: %v, want noise", err)
	}
	if kept := cap(conn.(*agentConn).in.spare); kept > 4*maxAnswer {
		t.Errorf("a flood left a buffer of %d bytes", kept)
	}
}

// TestLateAnswersAreSkipped: a ping that was given up, its answer and noise before the next one's.
func TestLateAnswersAreSkipped(t *testing.T) {
	asked := make(chan struct{})
	conn := openAgent(t, func(f *fakeAgent) {
		late := f.next().Arguments.ID
		<-asked
		next := f.next().Arguments.ID
		f.say("\xff{\"return\": %d}\n{\"return\": {}}\nno json \xff{\"return\": %d}\n", late, next)
		f.sync()
	})
	if err := conn.Ping(briefly(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("first ping: %v", err)
	}
	close(asked)
	for range 2 {
		if err := conn.Ping(deadline(t)); err != nil {
			t.Fatalf("ping: %v", err)
		}
	}
}

// TestPingBeforeTheGuestIsUp is answered when its agent opens the port.
func TestPingBeforeTheGuestIsUp(t *testing.T) {
	up := make(chan struct{})
	conn := openAgent(t, func(f *fakeAgent) { <-up; f.sync() })
	result := make(chan error)
	go func() { result <- conn.Ping(deadline(t)) }()
	close(up)
	if err := <-result; err != nil {
		t.Errorf("ping: %v", err)
	}
}

func TestExecOfAGoodAgent(t *testing.T) {
	conn := openAgent(t, func(f *fakeAgent) {
		f.sync()
		r := f.next()
		if r.Execute != "guest-exec" || r.Arguments.Path != "echo" || len(r.Arguments.Arg) != 1 {
			t.Errorf("asked %+v", r)
		}
		f.say(`{"return": {"pid": 7}}` + "\n")
		f.next()
		f.say(`{"return": {"exited": false}}` + "\n")
		if r := f.next(); r.Execute != "guest-exec-status" || r.Arguments.PID != 7 {
			t.Errorf("asked %+v", r)
		}
		big := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), maxOutput+1))
		f.say(`{"return": {"exited": true, "exitcode": 3, "out-data": %q, "err-data": "aGk="}}`+"\n", big)
	})
	r, err := conn.Exec(deadline(t), []string{"echo", "hi"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Code != 3 || string(r.Stderr) != "hi" || len(r.Stdout) != maxOutput || !r.Truncated {
		t.Errorf("code %d, stderr %q, %d bytes of stdout, truncated %v", r.Code, r.Stderr, len(r.Stdout), r.Truncated)
	}
}

// TestExecOfABadAgent: refusals are Broken, nonsense is Transient, and the wire is in sync afterwards.
func TestExecOfABadAgent(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		want host.Kind
	}{
		"refuses":     {`{"error": {"class": "GenericError", "desc": "no such command \u001b[2J"}}` + "\n", host.Broken},
		"wrong type":  {`{"return": {"pid": "seven"}}` + "\n", host.Transient},
		"no answer":   {`{}` + "\n", host.Transient},
		"long answer": {`{"return": {"pid": ` + strings.Repeat(" ", maxAnswer) + "7}}\n", host.Transient},
	} {
		t.Run(name, func(t *testing.T) {
			conn := openAgent(t, func(f *fakeAgent) {
				f.sync()
				f.next()
				f.say("%s", c.say)
				f.sync()
			})
			_, err := conn.Exec(deadline(t), []string{"x"})
			if err == nil || host.KindOf(err) != c.want || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("exec: %q, want kind %d and no escapes", err, c.want)
			}
			if err := conn.Ping(deadline(t)); err != nil {
				t.Errorf("ping afterwards: %v", err)
			}
		})
	}
}

// TestShutdownWaitsForNoAnswer and a ping afterwards isn't confused by one that comes.
func TestShutdownWaitsForNoAnswer(t *testing.T) {
	conn := openAgent(t, func(f *fakeAgent) {
		f.sync()
		if r := f.next(); r.Execute != "guest-shutdown" || r.Arguments.Mode != "powerdown" {
			t.Errorf("asked %+v", r)
		}
		f.say(`{"return": {}}` + "\n")
		f.sync()
	})
	if err := conn.Shutdown(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Ping(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestClosedAgentConnIsGone(t *testing.T) {
	conn := openAgent(t, func(*fakeAgent) {})
	conn.Close()
	conn.Close()
	if err := conn.Ping(deadline(t)); host.KindOf(err) != host.Gone {
		t.Errorf("ping: %v, want Gone", err)
	}
}
