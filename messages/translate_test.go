package messages

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// filler puts another value into every field, so that a field which a
// translation forgets can't be missed.
type filler struct{ n int }

func (f *filler) fill(v reflect.Value) {
	f.n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		f.fill(v.Index(0))
		f.fill(v.Index(1))
	case reflect.String:
		v.SetString(fmt.Sprintf("s%d", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(f.n) / 8)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(f.n))
	default:
		panic("a spec has a field of kind " + v.Kind().String())
	}
}

func TestEveryFieldOfASpecComesBack(t *testing.T) {
	var want vm.Spec
	(&filler{}).fill(reflect.ValueOf(&want).Elem())
	p := SpecToProto(want)
	b, err := JSON{}.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	back := &blixardv1.VMSpec{}
	if err := (JSON{}).Unmarshal(b, back); err != nil || !proto.Equal(p, back) {
		t.Fatalf("through JSON: %v\n%s", err, b)
	}
	got, err := SpecFromProto(back)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("came back as\n%+v, %v\nwant\n%+v", got, err, want)
	}
}

func TestASpecThatCantBeHeldIsRefused(t *testing.T) {
	far := &durationpb.Duration{Seconds: 300_000_000_000}
	for field, p := range map[string]*blixardv1.VMSpec{
		"no spec":                  nil,
		"stop.timeout":             {Stop: &blixardv1.Stop{Timeout: far}},
		"restart.delays[1]":        {Restart: &blixardv1.Restart{Delays: []*durationpb.Duration{{}, far}}},
		"health[0].interval":       {Health: []*blixardv1.Check{{Interval: &durationpb.Duration{Seconds: math.MinInt64}}}},
		"restart.delay.max: 1 s -": {Restart: &blixardv1.Restart{Delay: &blixardv1.Delay{Max: &durationpb.Duration{Seconds: 1, Nanos: -5}}}},
	} {
		_, err := SpecFromProto(p)
		if r, ok := errors.AsType[*vm.Refusal](err); !ok || r.Code != vm.Invalid || !strings.Contains(r.Why, field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := SpecFromProto(&blixardv1.VMSpec{Disks: []*blixardv1.Disk{nil}, Health: []*blixardv1.Check{nil}}); err != nil {
		t.Errorf("empty elements are for Spec.Check to refuse: %v", err)
	}
}

func TestAVMShowsWhatTheContractNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	r := vm.Record{ID: "0123456789abcdef", Spec: vm.Spec{Name: "web"}.Filled(), Reservation: vm.Reservation{CPUs: 1, Memory: 160 * vm.MiB}}
	r.State = vm.State{
		Phase: vm.Backoff, Intent: vm.WantRunning, Incarnation: 4, Revision: 31, Deadline: at, Restarts: 3, Crashes: 3,
		Process: &vm.Process{PID: 77}, // a record may still name what is gone
		LastExit: &vm.Crash{
			Number: 3, Decision: vm.Decision{Do: vm.BackOff, After: 1500 * time.Millisecond, Charged: true},
			Failure: vm.Failure{Cause: vm.CauseVMMCrash, Evidence: "killed by signal 9", At: at, Exit: &vm.Exit{Known: true, Signal: 9}},
		},
	}
	b, err := JSON{}.Marshal(VMToProto(r))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"name":"web","uid":"0123456789abcdef","intent":"running","phase":"backoff","reason":"","health":"unknown","incarnation":4,"revision":31,"launcher":"","unit":"","startedAt":null`,
		`"restarts":{"count":3,"inWindow":0,"budget":5,"window":"600s","remaining":0,"nextRetryAt":"2026-01-02T03:04:05.678Z","delay":"1.500s"}`,
		`"lastExit":{"cause":"vmm-crash","evidence":"killed by signal 9","signal":9,"at":"2026-01-02T03:04:05.678Z","charged":true`,
		`"probes":[{"type":"guest-agent","health":"unknown"`, `"reservation":{"cpus":1,"memoryBytes":167772160,"diskBytes":0}`,
		`"usage":null`, `"pid":null`, `"spec":{"name":"web","cpus":1,"memoryBytes":134217728`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, b)
		}
	}
	r.State.Queued, r.State.LastExit.Decision.Do = true, vm.Enqueue
	r.State.LastExit.Failure.Exit = &vm.Exit{Known: true, Code: 1, Result: "oom-\xffkill", MemoryPeak: 200 * vm.MiB, CPU: 1500 * time.Millisecond}
	b, _ = JSON{}.Marshal(VMToProto(r))
	for _, want := range []string{`"queued":true`, `"do":"enqueue"`, "\"result\":\"oom-\uFFFDkill\",\"memoryPeakBytes\":209715200,\"cpuTime\":\"1.500s\""} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the JSON lacks %s:\n%s", want, b)
		}
	}
	if c := CrashToProto(*r.State.LastExit); c.GetMemoryPeakBytes() != int64(200*vm.MiB) || c.GetCpuTime().AsDuration() != 1500*time.Millisecond || c.GetExitCode() != 1 {
		t.Errorf("the crash: %v", c)
	}
	r.State.Phase, r.State.Process, r.State.LaunchedAt = vm.Running, &vm.Process{PID: 77, Launcher: "process", Unit: "blixard-web"}, at
	b, _ = JSON{}.Marshal(VMToProto(r))
	if !strings.Contains(string(b), `"queued":false`) {
		t.Errorf("what runs waits for no turn:\n%s", b)
	}
	if want := `"pid":77,"launcher":"process","unit":"blixard-web","startedAt":"2026-01-02T03:04:05.678Z"`; !strings.Contains(string(b), want) {
		t.Errorf("the JSON lacks %s:\n%s", want, b)
	}
}

func TestEveryPhaseAndEventOfAnEntryHasItsWord(t *testing.T) {
	e := EventToProto(vm.Entry{Sequence: 9, Name: "w\xff", Kind: "VMMGone", From: vm.Running, To: vm.Reaping, Delay: time.Second, Decision: vm.BackOff})
	if e.GetFrom() != "running" || e.GetTo() != "reaping" || e.GetDecision() != "backoff" || e.GetVm() != "w\uFFFD" || e.GetDelay().AsDuration() != time.Second {
		t.Errorf("%v", e)
	}
	if e := EventToProto(vm.Entry{Kind: "DaemonStarted"}); e.GetFrom() != "" || e.GetTo() != "" || e.GetAt() != nil || e.GetDelay() != nil {
		t.Errorf("the node's own entry: %v", e)
	}
}

func TestRefusalsOfTheWireAreOurs(t *testing.T) {
	for want, err := range map[vm.Code]error{
		vm.Invalid:     connect.NewError(connect.CodeResourceExhausted, errors.New("message is larger")),
		vm.NotFound:    connect.NewError(connect.CodeNotFound, errors.New("x")),
		vm.Unavailable: errors.New("dial unix: no such file"),
		vm.Internal:    connect.NewError(connect.CodeDataLoss, errors.New("x")),
		vm.TimedOut:    fmt.Errorf("call: %w", os.ErrDeadlineExceeded),
	} {
		if want == vm.TimedOut {
			err = connect.NewError(connect.CodeDeadlineExceeded, err)
		}
		if got := RefusalOf(err); got.Code != want {
			t.Errorf("%v is %s, want %s", err, got.Code, want)
		}
	}
	if RefusalOf(nil) != nil {
		t.Error("no error is no refusal")
	}
}

// TestGeneratedCodeIsUpToDate makes it again elsewhere and compares.
func TestGeneratedCodeIsUpToDate(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	dir := t.TempDir()
	here, err := os.Getwd()
	if err == nil {
		err = os.CopyFS(filepath.Join(dir, "blixard"), os.DirFS("blixard"))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "run", "./gen", dir)
	cmd.Dir = here
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, name := range []string{"node.pb.go", "spec.pb.go", "vm.pb.go", "blixardv1connect/node.connect.go"} {
		fresh, err := os.ReadFile(filepath.Join(dir, "blixardv1", name))
		if err != nil {
			t.Fatal(err)
		}
		if kept, err := os.ReadFile(filepath.Join("blixardv1", name)); err != nil || string(kept) != string(fresh) {
			t.Errorf("%s is stale (%v): run make gen", name, err)
		}
	}
}

func BenchmarkJSONOfAThousandVMs(b *testing.B) {
	list := &blixardv1.ListVMsResponse{}
	for i := range 1000 {
		list.Vms = append(list.Vms, VMToProto(vm.Record{ID: "0123456789abcdef", Spec: vm.Spec{Name: vm.Name(fmt.Sprintf("vm-%d", i))}.Filled()}))
	}
	for b.Loop() {
		out, err := JSON{}.Marshal(list)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(out)))
	}
}
