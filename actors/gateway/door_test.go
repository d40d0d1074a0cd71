package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

func post(t *testing.T, c *http.Client, method string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://node"+service+method, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(messages.ClientHeader, "test/1")
	return read(t, c, req)
}

func read(t *testing.T, c *http.Client, req *http.Request) (int, string) {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", req.URL, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestEveryMethodOfTheServiceHasARowAndNothingElseHas(t *testing.T) {
	all := blixardv1.File_blixard_v1_node_proto.Services().ByName("Node").Methods()
	for i := range all.Len() {
		m := all.Get(i)
		row, ok := methods[string(m.Name())]
		if !ok || row.role == messages.NoRole {
			t.Errorf("%s has no row, or one that lets everybody in", m.Name())
		}
		if m.IsStreamingServer() && row.kind == short || m.IsStreamingClient() != (row.kind == twoWay) {
			t.Errorf("%s streams, its row says kind %d", m.Name(), row.kind)
		}
	}
	if len(methods) != all.Len() {
		t.Errorf("%d rows for %d methods", len(methods), all.Len())
	}
}

// TestRolesMatrix asks for every method with every role, over the socket.
func TestRolesMatrix(t *testing.T) {
	callers := map[string]struct {
		peer *messages.Peer
		role messages.Role
	}{
		"root": {peer(0), messages.Admin}, "the daemon's own user": {peer(-2), messages.Admin},
		"viewer": {peer(1), messages.Viewer}, "operator": {peer(2), messages.Operator},
		"admin by supplementary group":    {peer(7, 29, 30), messages.Admin},
		"viewer who is in an admin group": {peer(1, 30), messages.Admin},
		"nobody":                          {peer(99), messages.NoRole}, "no peer": {nil, messages.NoRole},
	}
	for who, c := range callers {
		t.Run(who, func(t *testing.T) {
			client, _ := socket(t, newWorld(record("web", vm.Running)).door(t), c.peer)
			for name, m := range methods {
				if m.kind == twoWay {
					continue
				}
				status, body := post(t, client, name, strings.NewReader(`{}`))
				if denied := status == http.StatusForbidden; denied != (c.role < m.role) {
					t.Errorf("%s with the role %s: %d %s", name, c.role, status, body)
				}
			}
		})
	}
}

func TestCurlListsAndHearsRefusals(t *testing.T) {
	w := newWorld(record("web", vm.Running), record("db", vm.Backoff))
	client, _ := socket(t, w.door(t), peer(0))
	status, body := post(t, client, "ListVMs", strings.NewReader(`{}`))
	var list struct {
		VMs []struct {
			Name, Phase string
			Spec        struct{ MemoryBytes int64 }
		}
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != 200 || len(list.VMs) != 2 {
		t.Fatalf("list: %d %v %s", status, err, body)
	}
	if list.VMs[0].Name != "db" || list.VMs[0].Phase != "backoff" || list.VMs[0].Spec.MemoryBytes != 128<<20 {
		t.Errorf("list: %s", body)
	}
	for _, c := range []struct {
		method, body string
		status       int
		want         string
	}{
		{"GetVM", `{"name":"nope"}`, 404, `"code":"not-found"`},
		{"GetVM", `{"name":"../../etc"}`, 400, `"code":"invalid"`},
		{"GetVM", `{"nmae":"web"}`, 400, "nmae"},
		{"GetVM", `[`, 400, "invalid_argument"},
		{"GetVM", ``, 400, ""},
		{"CreateVM", `{}`, 400, "no spec"},
		{"CreateVM", `{"spec":{"name":"a","memoryBytes":"12"}}`, 400, `"code":"invalid"`},
		{"CreateVM", `{"spec":{"name":"a","stop":{"timeout":"300000000000s"}}}`, 400, "stop.timeout"},
		{"WaitVM", `{"name":"web"}`, 400, "neither"},
		{"NoSuchThing", `{}`, 404, "not-found"},
	} {
		if status, body := post(t, client, c.method, strings.NewReader(c.body)); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %s", c.method, c.body, status, body, c.status, c.want)
		}
	}
}

func TestRealCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: curl is not installed")
	}
	d := newWorld(record("web", vm.Running)).door(t)
	path := serve(t, d, peer(0))
	for url, want := range map[string]string{
		"http://localhost/metrics":                    "blixard_vms 1",
		"http://localhost/":                           "--unix-socket",
		"http://localhost" + service + "ListVMs":      `{"vms":[{"name":"web"`,
		"http://localhost" + service + "Version":      `"version":"v0-test"`,
		"http://localhost" + service + "NodeTree":     `"path":"root"`,
		"http://localhost" + service + "NoSuchMethod": "not-found",
	} {
		args := []string{"-s", "--unix-socket", path}
		if strings.Contains(url, service) {
			args = append(args, "-H", "Content-Type: application/json", "-d", "{}")
		}
		out, err := exec.CommandContext(t.Context(), "curl", append(args, url)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("curl %s: %v %s", url, err, out)
		}
	}
}

func TestEveryRefusalTravelsWhole(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	_, client := socket(t, w.door(t), peer(2))
	for _, code := range []vm.Code{
		vm.Invalid, vm.NotFound, vm.Exists, vm.WrongPhase, vm.Denied, vm.NoRoom, vm.Unavailable, vm.TimedOut, vm.Internal,
	} {
		want := &vm.Refusal{Code: code, Why: "needs 512 MiB, 380 MiB left \x1b[2J", Try: "stop a VM"}
		w.refuse = want
		_, err := client.StartVM(t.Context(), connect.NewRequest(&blixardv1.StartVMRequest{Name: "web"}))
		if got := messages.RefusalOf(err); got == nil || *got != *want {
			t.Errorf("%s came as %v (%v)", code, got, err)
		}
	}
	w.refuse = errors.New("disk on fire")
	_, err := client.StartVM(t.Context(), connect.NewRequest(&blixardv1.StartVMRequest{Name: "web"}))
	if got := messages.RefusalOf(err); got.Code != vm.Internal || !strings.Contains(got.Why, "disk on fire") {
		t.Errorf("a plain error came as %v", got)
	}
}

func TestAnAskCarriesItsCaller(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	client, _ := socket(t, w.door(t), peer(2))
	for method, event := range map[string]vm.Event{
		`StartVM {"name":"web"}`: vm.StartAsked, `StopVM {"name":"web"}`: vm.StopAsked, `StopVM {"name":"web","force":true}`: vm.KillAsked,
		`RestartVM {"name":"web"}`: vm.RestartAsked, `PauseVM {"name":"web"}`: vm.PauseAsked, `ResumeVM {"name":"web"}`: vm.ResumeAsked,
		`ResetVM {"name":"web"}`: vm.ResetAsked,
	} {
		name, body, _ := strings.Cut(method, " ")
		status, text := post(t, client, name, strings.NewReader(body))
		last := w.asks[len(w.asks)-1]
		if status != 200 || last.Event != event || last.By.String() != "uid=2 pid=4711 test/1" || last.By.Role != messages.Operator {
			t.Errorf("%s: %d %s; asked %v by %v", method, status, text, last.Event, last.By)
		}
	}
}

// endless is a body without a length, as curl -T - sends it.
type endless struct{ n int }

func (e *endless) Read(b []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.n)
	e.n -= n
	return copy(b, bytes.Repeat([]byte("a"), n)), nil
}

func TestATenMegabyteSpecIsRefusedInWords(t *testing.T) {
	client, _ := socket(t, newWorld().door(t), peer(0))
	for story, body := range map[string]io.Reader{
		"with its length": strings.NewReader(`{"spec":{"name":"` + strings.Repeat("a", 10<<20) + `"}}`),
		"in chunks":       &endless{n: 10 << 20},
	} {
		status, text := post(t, client, "CreateVM", body)
		if status != 400 || !strings.Contains(text, "1048576") || !strings.Contains(text, "104857") {
			t.Errorf("%s: %d %.300s", story, status, text)
		}
	}
	deep := strings.NewReader(strings.Repeat(`{"spec":`, 100000))
	if status, text := post(t, client, "CreateVM", deep); status != 400 {
		t.Errorf("deep nesting: %d %.300s", status, text)
	}
	if status, text := post(t, client, "ListVMs", strings.NewReader(`{}`)); status != 200 {
		t.Errorf("afterwards: %d %s", status, text)
	}
}

func TestAFloodIsRefusedWithNumbersAndOthersGoOn(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	d := w.door(t, func(c *Config) { c.Limits = Limits{PerSecond: 0.001, Burst: 3, Patience: time.Millisecond} })
	flood, _ := socket(t, d, peer(1))
	other, _ := socket(t, d, peer(2))
	refused := 0
	for range 20 {
		status, text := post(t, flood, "ListVMs", strings.NewReader(`{}`))
		if status == http.StatusServiceUnavailable && strings.Contains(text, "0.001 requests a second") {
			refused++
		}
	}
	if refused != 17 {
		t.Errorf("%d of 20 refused, want 17", refused)
	}
	if status, text := post(t, other, "ListVMs", strings.NewReader(`{}`)); status != 200 {
		t.Errorf("another user: %d %s", status, text)
	}
}

func TestABugInOneRequestStaysThere(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	client, _ := socket(t, w.door(t), peer(0))
	w.panics = true
	if status, text := post(t, client, "StartVM", strings.NewReader(`{"name":"web"}`)); status != 500 || !strings.Contains(text, `"code":"internal"`) {
		t.Errorf("panic: %d %s", status, text)
	}
	if status, _ := post(t, client, "GetVM", strings.NewReader(`{"name":"web"}`)); status != 200 {
		t.Errorf("afterwards: %d", status)
	}
}

func TestAGuestsBytesNeverBreakAList(t *testing.T) {
	r := record("web", vm.Failed)
	evil := "\xff\xfe\x1b]0;pwn\x07 " + string([]byte{0xed, 0xa0, 0x80}) + `"}],"x":[{`
	r.State.Reason, r.State.HealthWhy = evil, evil
	r.State.LastExit = &vm.Crash{Number: 1, Failure: vm.Failure{Cause: vm.CauseGuestPanic, Evidence: evil, At: time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC)}}
	w := newWorld(r, record("fine", vm.Running))
	w.crashes = []vm.Crash{*r.State.LastExit}
	client, typed := socket(t, w.door(t), peer(1))
	for _, method := range []string{"ListVMs", "GetVM", "ExplainVM", "ListCrashes", "NodeStatus"} {
		body := `{"name":"web"}`
		if method == "ListVMs" || method == "NodeStatus" {
			body = `{}`
		}
		status, text := post(t, client, method, strings.NewReader(body))
		if status != 200 || !json.Valid([]byte(text)) {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
	if _, err := typed.ListVMs(t.Context(), connect.NewRequest(&blixardv1.ListVMsRequest{})); err != nil {
		t.Errorf("in binary: %v", err)
	}
}

func TestApplySaysWhatItDoes(t *testing.T) {
	w := newWorld()
	client, _ := socket(t, w.door(t), peer(0))
	for _, step := range []struct{ body, want string }{
		{`{"spec":{"name":"web"},"dryRun":true}`, `{"action":"created","changes":[],"vm":null,"needs":{"cpus":1,"memoryBytes":135266304,"diskBytes":0},"waits":false,"takes":{"cpus":1,"memoryBytes":135266304,"diskBytes":0},"left":{"cpus":-1,"memoryBytes":-135266304,"diskBytes":0},"now":[],"later":[],"forgives":false}`},
		{`{"spec":{"name":"web"}}`, `{"action":"created","changes":[],"vm":{"name":"web"`},
		{`{"spec":{"name":"web"}}`, `{"action":"unchanged","changes":[],"vm":{"name":"web"`},
		{`{"spec":{"name":"web","cpus":2},"dryRun":true}`, `{"action":"changed","changes":["cpus: 1 -\u003e 2"]`},
		{`{"spec":{"name":"web","cpus":2,"disks":[{"name":"d","sizeBytes":1048576}]}}`, `{"action":"changed","changes":["cpus: 1`},
		{`{"spec":{"name":"web","cpus":2,"disks":[{"name":"d","sizeBytes":1048576}]}}`, `{"action":"unchanged"`},
	} {
		status, text := post(t, client, "Apply", strings.NewReader(step.body))
		want := strings.ReplaceAll(step.want, `\u003e`, ">")
		if status != 200 || !strings.HasPrefix(text, want) {
			t.Errorf("apply %s:\n%d %.400s\nwant %s", step.body, status, text, want)
		}
	}
	if n := len(w.asks); n != 1 {
		t.Errorf("%d asks, want the one change", n)
	}
}

func TestSendReachesOneActorUnderTheRoleOfItsMessage(t *testing.T) {
	w := newWorld(record("web", vm.Running))
	d := w.door(t)
	viewer, _ := socket(t, d, peer(1))
	operator, _ := socket(t, d, peer(2))
	for i, c := range []struct {
		client *http.Client
		body   string
		status int
		want   string
	}{
		{operator, `{"path":"vm/web","type":"StopVM","json":"{}"}`, 200, `"type":"VM"`},
		{operator, `{"path":"vm/web","type":"StopVMRequest","json":"{\"name\":\"db\"}"}`, 400, "the path names"},
		{viewer, `{"path":"vm/web","type":"StopVM"}`, 403, "operator"},
		{viewer, `{"path":"vm/web","type":"GetVM"}`, 200, `\"phase\":\"running\"`},
		{operator, `{"path":"vm/web","type":"DeleteVM"}`, 403, "admin"},
		{operator, `{"path":"vm/web","type":"Send"}`, 400, "takes no message"},
		{operator, `{"path":"vm/\u001b[31m` + strings.Repeat("x", 200) + `","type":"Zork"}`, 400, `\"vm/\\x1b[31m` + strings.Repeat("x", 72) + `\" takes no message`},
		{operator, `{"path":"vm","type":"GetVM"}`, 404, "no actor"},
		{operator, `{"path":"fleet","type":"CreateVM"}`, 403, "admin"},
		{operator, `{"path":"reconciler","type":"ApplyPlan"}`, 403, "admin"},
		{viewer, `{"path":"reconciler","type":"NodePlan","json":"{\"fresh\":true}"}`, 200, `"type":"Plan"`},
		{operator, `{"path":"root","type":"NodeRepair"}`, 403, "admin"},
		{viewer, `{"path":"root","type":"NodeStatus"}`, 200, `safeMode`},
		{viewer, `{"path":"reconciler/x","type":"NodePlan"}`, 404, "no actor"},
		{operator, `{"path":"../etc","type":"GetVM"}`, 404, "no actor"},
		{operator, `{"path":"vm/web","type":"StopVM","json":"{\"forse\":true}"}`, 400, "forse"},
	} {
		if status, text := post(t, c.client, "Send", strings.NewReader(c.body)); status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%d: send %s: %d %s, want %d with %s", i, c.body, status, text, c.status, c.want)
		}
	}
}

func TestExecIsJournalledAndBounded(t *testing.T) {
	w := newWorld(record("web", vm.Running), record("off", vm.Stopped))
	client, _ := socket(t, w.door(t), peer(2))
	if status, text := post(t, client, "ExecVM", strings.NewReader(`{"name":"web","argv":["uname"]}`)); status != 200 || !strings.Contains(text, `"exitCode":3`) {
		t.Errorf("exec: %d %s", status, text)
	}
	if e := w.entries; len(e) != 1 || e[0].Kind != "ExecAsked" || e[0].By != "uid=2 pid=4711 test/1" || e[0].Why != `"uname"` {
		t.Errorf("journal: %+v", e)
	}
	for body, want := range map[string]string{
		`{"name":"off","argv":["id"]}`: "wrong-phase", `{"name":"web"}`: "no command",
		`{"name":"web","argv":["id"],"timeout":"-1s"}`: "may take", `{"name":"none","argv":["id"]}`: "not-found",
	} {
		if _, text := post(t, client, "ExecVM", strings.NewReader(body)); !strings.Contains(text, want) {
			t.Errorf("%s: %s", body, text)
		}
	}
}

func TestCrashEvidence(t *testing.T) {
	r := record("web", vm.Running)
	r.State.Crashes, r.State.Incarnation = 3, 4
	w := newWorld(r)
	for n := uint64(3); n > 0; n-- {
		w.crashes = append(w.crashes, vm.Crash{Number: n, Failure: vm.Failure{Incarnation: vm.Incarnation(n), Cause: vm.CauseVMMCrash, Exit: &vm.Exit{Known: true}}})
	}
	w.files["/s/vms/web/console-2.log"] = bytes.Repeat([]byte("x\xff"), 1<<20)
	w.files["/s/vms/web/vmm-2.log"] = []byte("qemu: oops")
	_, client := socket(t, w.door(t), peer(1))
	res, err := client.GetCrash(t.Context(), connect.NewRequest(&blixardv1.GetCrashRequest{Name: "web", Number: 2}))
	if err != nil || res.Msg.GetCrash().GetNumber() != 2 || len(res.Msg.GetConsoleTail()) != consoleTail || string(res.Msg.GetVmmTail()) != "qemu: oops" {
		t.Errorf("crash 2: %v %v", err, res)
	}
	if res != nil && (res.Msg.GetCrash().ExitCode == nil || res.Msg.GetCrash().GetExitCode() != 0) {
		t.Errorf("an exit status of 0 is known, and shows")
	}
	for _, n := range []uint64{0, 4, 1 << 63} {
		_, err := client.GetCrash(t.Context(), connect.NewRequest(&blixardv1.GetCrashRequest{Name: "web", Number: n}))
		if messages.RefusalOf(err).Code != vm.NotFound {
			t.Errorf("crash %d: %v", n, err)
		}
	}
	if _, err := client.ListCrashes(t.Context(), connect.NewRequest(&blixardv1.ListCrashesRequest{Name: "web", Limit: -1})); messages.RefusalOf(err).Code != vm.Invalid {
		t.Error(fmt.Sprint(err))
	}
}
