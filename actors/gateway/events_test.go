package gateway

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// happened fills the journal: one entry a minute, of web and db by turns.
func happened(w *world, n int) {
	for i := range n {
		name := []vm.Name{"web", "db"}[i%2]
		_, _ = journal{w}.Note(vm.Entry{At: someTime.Add(time.Duration(i) * time.Minute), Name: name, Kind: "Launched"})
	}
}

func TestEventsBeginWhereTheyAreAsked(t *testing.T) {
	w := newWorld()
	happened(w, 1000)
	_, client := socket(t, w.door(t), peer(1))
	seven := uint64(997)
	zero := uint64(0)
	for story, c := range map[string]struct {
		req         *blixardv1.WatchEventsRequest
		first, last uint64
		count       int
	}{
		"all":                {&blixardv1.WatchEventsRequest{}, 1, 1000, 1000},
		"from the first":     {&blixardv1.WatchEventsRequest{After: &zero}, 1, 1000, 1000},
		"resumed":            {&blixardv1.WatchEventsRequest{After: &seven}, 998, 1000, 3},
		"since a time":       {&blixardv1.WatchEventsRequest{Since: timestamppb.New(someTime.Add(990 * time.Minute))}, 991, 1000, 10},
		"since a later time": {&blixardv1.WatchEventsRequest{Since: timestamppb.New(someTime.Add(24 * time.Hour))}, 0, 0, 0},
		"since ever":         {&blixardv1.WatchEventsRequest{Since: timestamppb.New(time.Unix(0, 0))}, 1, 1000, 1000},
		"of one VM":          {&blixardv1.WatchEventsRequest{Vm: "db", After: &seven}, 998, 1000, 2},
		"of none":            {&blixardv1.WatchEventsRequest{Vm: "none"}, 0, 0, 0},
	} {
		s, err := client.WatchEvents(t.Context(), connect.NewRequest(c.req))
		if err != nil {
			t.Fatalf("%s: %v", story, err)
		}
		var got []uint64
		for s.Receive() {
			got = append(got, s.Msg().GetSequence())
		}
		if s.Err() != nil || len(got) != c.count || c.count > 0 && (got[0] != c.first || got[c.count-1] != c.last) {
			t.Errorf("%s: %d events, %v", story, len(got), s.Err())
		}
	}
}

// TestAWatcherThatComesBackMissesNothing cuts the stream again and again.
func TestAWatcherThatComesBackMissesNothing(t *testing.T) {
	w := newWorld()
	happened(w, 10)
	_, client := socket(t, w.door(t), peer(1))
	go happened(w, 600)
	after := uint64(0)
	for after < 610 {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		s, err := client.WatchEvents(ctx, connect.NewRequest(&blixardv1.WatchEventsRequest{After: &after, Follow: true}))
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < 100 && after < 610 && s.Receive(); n++ {
			if s.Msg().GetSequence() != after+1 {
				t.Fatalf("after %d came %d", after, s.Msg().GetSequence())
			}
			after = s.Msg().GetSequence()
		}
		if ctx.Err() != nil {
			t.Fatalf("stuck after %d", after)
		}
		cancel()
		_ = s.Close()
	}
}

// helloed is an answer that calls back when its hello is on its way.
type helloed struct {
	*httptest.ResponseRecorder
	hello func()
	once  sync.Once
}

func (h *helloed) Flush() {
	h.ResponseRecorder.Flush()
	h.once.Do(h.hello)
}

// TestWhatHappensAfterTheHelloIsNeverMissed lets an event happen at the very
// moment of the hello, which is what a client does that waits for the hello
// before it acts.
func TestWhatHappensAfterTheHelloIsNeverMissed(t *testing.T) {
	w := newWorld()
	happened(w, 50)
	d := w.door(t)
	const ask = `{"follow":true}`
	ctx, cancel := context.WithTimeout(messages.WithPeer(t.Context(), *peer(1)), 30*time.Second) // the door is closed long before
	defer cancel()
	body := append([]byte{0, 0, 0, 0, byte(len(ask))}, ask...)
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, service+"WatchEvents", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/connect+json")
	answer := &helloed{ResponseRecorder: httptest.NewRecorder(), hello: func() { happened(w, 1); d.Close() }}
	d.ServeHTTP(answer, r)
	if got := answer.Body.String(); !strings.Contains(got, `"sequence":51,`) {
		t.Errorf("the event that came right after the hello is not in %q", got)
	}
}

func TestFollowingWithoutAPlaceBeginsNow(t *testing.T) {
	w := newWorld()
	happened(w, 50)
	d := w.door(t)
	_, client := socket(t, d, peer(1))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := client.WatchEvents(ctx, connect.NewRequest(&blixardv1.WatchEventsRequest{Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.ResponseHeader()) == 0 {
		t.Fatal("the stream says hello before anything happens")
	}
	happened(w, 1)
	if !s.Receive() || s.Msg().GetSequence() < 51 {
		t.Fatalf("the first is %v, %v", s.Msg(), s.Err())
	}
	d.Close()
	for s.Receive() {
	}
	if r := messages.RefusalOf(s.Err()); r == nil || r.Code != vm.Unavailable {
		t.Errorf("the daemon's stop ends the stream with %v", s.Err())
	}
}

// TestWatchersThatDontReadHoldNobody opens streams, reads none, and lets the journal grow.
func TestWatchersThatDontReadHoldNobody(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	d := w.door(t, func(c *Config) { c.Limits.LongByUser = 5 })
	_, idle := socket(t, d, peer(1))
	zero := uint64(0)
	happened(w, 5000)
	for range 5 {
		s, err := idle.WatchEvents(t.Context(), connect.NewRequest(&blixardv1.WatchEventsRequest{After: &zero, Follow: true}))
		if err != nil {
			t.Fatal(err)
		}
		if !s.Receive() {
			t.Fatal(s.Err())
		}
	}
	over, err := idle.WatchEvents(t.Context(), connect.NewRequest(&blixardv1.WatchEventsRequest{After: &zero}))
	if err == nil {
		for over.Receive() {
		}
		err = over.Err()
	}
	if r := messages.RefusalOf(err); r == nil || r.Code != vm.Unavailable || r.Why != "uid 1 has 5 streams and waits open, as many as it may" {
		t.Errorf("the sixth: %v", err)
	}
	done := make(chan struct{})
	go func() { happened(w, 5000); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("watchers that don't read hold the journal")
	}
	_, other := socket(t, d, peer(2))
	if _, err := other.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"})); err != nil {
		t.Error(fmt.Sprint("another user: ", err))
	}
}
