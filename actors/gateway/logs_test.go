package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

const log1, log2, log3 = "/s/vms/web/console-1.log", "/s/vms/web/console-2.log", "/s/vms/web/console-3.log"

func TestLogsOfOneIncarnation(t *testing.T) {
	r := record("web", vm.Running)
	r.State.Incarnation = 3
	fresh := record("new", vm.Stopped)
	fresh.State.Incarnation = 0
	w := newWorld(r, fresh)
	hostile := strings.Repeat("\xff\x00\x1b]0;t\x07", 20000)
	w.files[log2], w.files[log3] = []byte("one\ntwo\n\nsecond"), []byte(hostile)
	const second = "one\ntwo\n\nsecond"
	_, client := socket(t, w.door(t), peer(1))
	for story, c := range map[string]struct {
		req  *blixardv1.LogsRequest
		want string
		code vm.Code
	}{
		"the last":            {req: &blixardv1.LogsRequest{Name: "web"}, want: hostile},
		"its tail":            {req: &blixardv1.LogsRequest{Name: "web", TailBytes: 7}, want: hostile[len(hostile)-7:]},
		"previous":            {req: &blixardv1.LogsRequest{Name: "web", Previous: true}, want: second},
		"numbered":            {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 2}, want: second},
		"a line":              {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 2, TailLines: 1}, want: "second"},
		"three lines":         {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 2, TailLines: 3}, want: "two\n\nsecond"},
		"more than there are": {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 2, TailLines: 1 << 30}, want: second},
		"negative lines":      {req: &blixardv1.LogsRequest{Name: "web", TailLines: -1}, code: vm.Invalid},
		"lines and bytes":     {req: &blixardv1.LogsRequest{Name: "web", TailLines: 1, TailBytes: 1}, code: vm.Invalid},
		"no longer kept":      {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 1}, code: vm.NotFound},
		"not yet":             {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 4}, code: vm.NotFound},
		"both":                {req: &blixardv1.LogsRequest{Name: "web", Incarnation: 2, Previous: true}, code: vm.Invalid},
		"negative":            {req: &blixardv1.LogsRequest{Name: "web", TailBytes: -1}, code: vm.Invalid},
		"no VM":               {req: &blixardv1.LogsRequest{Name: "none"}, code: vm.NotFound},
		"never started":       {req: &blixardv1.LogsRequest{Name: "new"}, code: vm.WrongPhase},
		"previous of nothing": {req: &blixardv1.LogsRequest{Name: "new", Previous: true}, code: vm.NotFound},
	} {
		s, err := client.Logs(t.Context(), connect.NewRequest(c.req))
		if err != nil {
			t.Fatalf("%s: %v", story, err)
		}
		var got bytes.Buffer
		for s.Receive() {
			got.Write(s.Msg().GetData())
		}
		if r := messages.RefusalOf(s.Err()); c.code != "" && (r == nil || r.Code != c.code) || c.code == "" && s.Err() != nil {
			t.Errorf("%s: %v, want %q", story, s.Err(), c.code)
		}
		if got.String() != c.want {
			t.Errorf("%s: %d bytes, want %d", story, got.Len(), len(c.want))
		}
	}
}

func TestTheLastLinesOfAConsole(t *testing.T) {
	for text, want := range map[string]string{"": "", "\n": "\n", "a": "a", "a\n": "a\n", "a\nb\n": "b\n", "a\n\n": "\n", "a\nb": "b"} {
		if got := text[beforeLines([]byte(text), 1):]; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A follow that begins with the last lines goes on with what comes, whose place
// is told.
func TestAFollowBeginsWithTheLastLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record("web", vm.Running)
		r.State.Incarnation = 2
		w := newWorld(r)
		w.files[log2] = []byte("one\ntwo\nthree\n")
		ctx, leave := context.WithCancel(t.Context())
		var got strings.Builder
		ended := make(chan error, 1)
		go func() {
			ended <- w.door(t).logs(ctx, &blixardv1.LogsRequest{Name: "web", Follow: true, TailLines: 2}, func(c *blixardv1.LogsChunk) error {
				if c != nil {
					fmt.Fprintf(&got, "%d:%s", c.GetOffset(), c.GetData())
				}
				return nil
			})
		}()
		synctest.Wait()
		w.write(log2, "four\n", false)
		synctest.Wait()
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) || got.String() != "4:two\nthree\n14:four\n" {
			t.Errorf("%q, %v", got.String(), err)
		}
	})
}

// TestLogsFollowAVMThroughItsLives: created, started, crashed, restarted, deleted.
func TestLogsFollowAVMThroughItsLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := record("web", vm.Stopped)
		r.State.Incarnation = 0
		w := newWorld(r)
		d := w.door(t)
		var got strings.Builder
		ended := make(chan error, 1)
		go func() {
			ended <- d.logs(t.Context(), &blixardv1.LogsRequest{Name: "web", Follow: true}, func(c *blixardv1.LogsChunk) error {
				got.Write(c.GetData())
				return nil
			})
		}()
		synctest.Wait()
		w.change("web", func(r *vm.Record) { r.State.Incarnation = 1 }) // being prepared: no file yet
		synctest.Wait()
		w.write(log1, "boot1 ", false)
		w.change("web", func(r *vm.Record) { r.State.Phase = vm.Starting })
		synctest.Wait()
		w.write(log1, "up1 ", false)
		synctest.Wait()
		w.write(log1, "panic1 ", true) // the notice of the last words is late
		w.change("web", func(r *vm.Record) { r.State.Incarnation = 2 })
		synctest.Wait()
		w.write(log3, "boot3 ", false) // the second was never launched
		w.change("web", func(r *vm.Record) { r.State.Incarnation = 3 })
		synctest.Wait()
		w.remove("web")
		if err := <-ended; err != nil {
			t.Errorf("the end of a deleted VM's log: %v", err)
		}
		if want := "boot1 up1 panic1 boot3 "; got.String() != want {
			t.Errorf("heard %q, want %q", got.String(), want)
		}
		if len(w.taken) != 0 {
			t.Errorf("follows left behind: %d", len(w.taken))
		}
	})
}

// TestAReaderThatFallsBehindLosesNothing: the console's goroutine is never held,
// and what did not fit is read again from the file.
func TestAReaderThatFallsBehindLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(record("web", vm.Running))
		d := w.door(t)
		w.write(log1, "start\n", false)
		reads := make(chan struct{})
		var got bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- d.logs(ctx, &blixardv1.LogsRequest{Name: "web", Follow: true}, func(c *blixardv1.LogsChunk) error {
				if c == nil {
					return nil
				}
				<-reads
				got.Write(c.GetData())
				return nil
			})
		}()
		synctest.Wait()
		line := strings.Repeat("flood ", 10000)
		for range 40 { // 2.4 MB, more than what may wait
			w.write(log1, line, false)
		}
		close(reads)
		synctest.Wait()
		// What is over the buffer at one go is read in parts too.
		if want := "start\n" + strings.Repeat(line, 40); got.String() != want {
			t.Errorf("read %d bytes of %d", got.Len(), len(want))
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestConsoleJoinsCallerAndGuest(t *testing.T) {
	w := newWorld(record("web", vm.Running), record("off", vm.Stopped))
	ours, guest := net.Pipe()
	w.dial = ours
	_, client := socket(t, w.door(t), peer(2))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := client.Console(ctx)
	if err := s.Send(&blixardv1.ConsoleInput{Name: "web", Data: []byte("root\n")}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(guest, b); err != nil || string(b) != "root\n" {
		t.Fatalf("the guest heard %q, %v", b, err)
	}
	go func() { _, _ = guest.Write([]byte("\x1b[2J# ")) }()
	var heard []byte
	for len(heard) < 6 {
		m, err := s.Receive()
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, m.GetData()...)
	}
	if string(heard) != "\x1b[2J# " {
		t.Errorf("the caller heard %q", heard)
	}
	if err := s.CloseRequest(); err != nil {
		t.Error(err)
	}
	if _, err := guest.Read(b); !errors.Is(err, io.EOF) {
		t.Errorf("the caller left, the guest's side ends with %v", err)
	}
	if e := w.entries; len(e) != 1 || e[0].Kind != "ConsoleOpened" || !strings.HasPrefix(e[0].By, "uid=2 ") {
		t.Errorf("journal: %+v", e)
	}
}

func TestConsoleEndsAndRefuses(t *testing.T) {
	w := newWorld(record("web", vm.Running), record("off", vm.Stopped))
	ours, guest := net.Pipe()
	w.dial = ours
	d := w.door(t)
	_, client := socket(t, d, peer(2))
	_, viewer := socket(t, d, peer(1))
	for story, c := range map[string]struct {
		client interface {
			Console(context.Context) *connect.BidiStreamForClient[blixardv1.ConsoleInput, blixardv1.ConsoleOutput]
		}
		name string
		code vm.Code
	}{
		"a viewer": {viewer, "web", vm.Denied}, "stopped": {client, "off", vm.WrongPhase}, "none": {client, "x", vm.NotFound},
		"no name": {client, "", vm.Invalid},
	} {
		s := c.client.Console(t.Context())
		_ = s.Send(&blixardv1.ConsoleInput{Name: c.name}) // it may be refused already
		_, err := s.Receive()
		if r := messages.RefusalOf(err); r == nil || r.Code != c.code {
			t.Errorf("%s: %v, want %s", story, err, c.code)
		}
		_ = s.CloseRequest()
	}
	s := client.Console(t.Context())
	if err := s.Send(&blixardv1.ConsoleInput{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Receive(); err != nil {
		t.Fatal(err)
	}
	_ = guest.Close()
	if _, err := s.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("the VMM closed its console, the caller hears %v", err)
	}
	_ = s.CloseRequest()
}
