package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/blixard/blixard/vm"
)

func TestWhatConcernsTheWholeNodeIsBounded(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	client, _ := socket(t, w.door(t), peer(0))
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"ShutdownNode", `{"within":"0s"}`, 400, "at most 1h"},
		{"ShutdownNode", `{"within":"3601s"}`, 400, "at most"},
		{"ShutdownNode", `{"within":"-1s"}`, 400, "at most"},
		{"ShutdownNode", `{}`, 200, `{"stopped":[],"left":["web"]}`},
		{"RestoreQuarantined", `{}`, 400, "no name"},
		{"RestoreQuarantined", `{"name":"../web"}`, 400, "no name"},
		{"RestoreQuarantined", `{"name":".."}`, 400, "no name"},
		{"RestoreQuarantined", `{"name":"` + strings.Repeat("a", 256) + `"}`, 400, "no name"},
		{"RestoreQuarantined", `{"name":"web-1"}`, 200, "{}"},
		{"ApplyPlan", `{"ids":[""]}`, 400, "no id"},
		{"ApplyPlan", `{"ids":["` + strings.Repeat("a", 257) + `"]}`, 400, "no id"},
		{"ApplyPlan", `{"ids":[` + strings.Repeat(`"a",`, 1000) + `"a"]}`, 400, "1001 actions"},
		{"ApplyPlan", `{"ids":["a"]}`, 200, `"state":"done"`},
		{"NodePlan", `{"fresh":true}`, 200, "{\"at\":\"2026-01-02T03:04:05Z\",\"actions\":[{\"id\":\"a\",\"do\":\"kill\",\"what\":\"\uFFFD\",\"vm\":\"web\",\"why\":\"because\",\"state\":\"person\",\"after\":null,\"error\":\"\"}]}"},
		{"NodeRepair", `{}`, 200, `{"aside":"/aside","vms":3,"lines":["` + "\uFFFD" + `"]}`},
		{"NodeStatus", `{}`, 200, `"bootstrap":{"state":"running","bootId":"boot","policy":"manual","startedAt":"2026-01-02T03:04:05Z","endedAt":null,"endsAbout":null,"limit":2,"pressure":"","waiting":["db"],"starting":["web"],"ready":1,"failed":0,"held":[]},"safeMode":"damaged","lowSpace":"","waitingForPerson":1,"alerts":[]}`},
	} {
		if status, text := post(t, client, c.method, strings.NewReader(c.body)); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %.60s: %d %s, want %d with %s", c.method, c.body, status, text, c.status, c.want)
		}
	}
	if by := fmt.Sprint(w.callers); by != "[shutdown uid=0 pid=4711 test/1 restore uid=0 pid=4711 test/1 apply uid=0 pid=4711 test/1 repair uid=0 pid=4711 test/1]" {
		t.Errorf("asked by %s", by)
	}
}

// Half a repair is worse than none: it goes on when its caller has gone.
func TestARepairOutlivesItsCaller(t *testing.T) {
	w := newWorld()
	w.began, w.goOn = make(chan struct{}), make(chan error)
	ctx, leave := context.WithCancel(t.Context())
	go func() { <-w.began; leave(); w.goOn <- ctx.Err() }()
	if res, err := w.door(t).repair(ctx); err != nil || res.GetVms() != 3 || ctx.Err() == nil {
		t.Errorf("%v, %v", res, err)
	}
}

func TestTheDaemonsEndEndsARepairInWords(t *testing.T) {
	w := newWorld()
	w.began, w.goOn = make(chan struct{}), make(chan error)
	d := w.door(t)
	client, _ := socket(t, d, peer(0))
	go func() { <-w.began; d.Close() }()
	if status, text := post(t, client, "NodeRepair", strings.NewReader(`{}`)); status != http.StatusServiceUnavailable || !strings.Contains(text, "the daemon is stopping") {
		t.Errorf("%d %s", status, text)
	}
}

func TestExplainTellsTheTurnOfAQueuedVM(t *testing.T) {
	r := record("db", vm.Backoff)
	r.State.Queued = true
	client, _ := socket(t, newWorld(r).door(t), peer(1))
	if status, text := post(t, client, "ExplainVM", strings.NewReader(`{"name":"db"}`)); status != 200 || !strings.Contains(text, "it is number 1 of 1 that wait, 1 are starting, at most 2 may") {
		t.Errorf("%d %s", status, text)
	}
}
