package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/policies"
	"github.com/blixard/blixard/vm"
)

// fakeEvidence is what the bundle of fakeCrash holds.
func fakeEvidence() *blixardv1.Evidence {
	return &blixardv1.Evidence{
		Spec: fakeVM("web").GetSpec(), Argv: []string{"/usr/bin/qemu-system-x86_64", "-name", "web"},
		Notices: []*blixardv1.Said{{At: ago(time.Hour + 30*time.Millisecond), Kind: "panic", Detail: "pvpanic \x1b[1m"}},
		Rounds: []*blixardv1.Round{
			{Check: "guest-agent", At: ago(time.Hour + 12*time.Second), Took: durationpb.New(4 * time.Millisecond), Ok: true},
			{Check: "guest-agent", At: ago(time.Hour + 2*time.Second), Took: durationpb.New(time.Second), Detail: "no answer", Dropped: "the host kept the VMM waiting for 41% of it"},
			{Check: "web", At: ago(time.Hour + time.Second), Took: durationpb.New(time.Second), Detail: "connection refused"},
		},
		Usage:    &blixardv1.Usage{MemoryBytes: int64(100 * vm.MiB), CpuSeconds: 12.3, At: ago(time.Hour)},
		Pressure: &blixardv1.NodePressure{Cpu: 12.5, Io: 3},
		Dump:     &blixardv1.Dumped{Format: "kdump", Bytes: int64(20 * vm.MiB), Took: durationpb.New(600 * time.Millisecond)},
		Lacks:    []string{"vmm-2.log: there is something else than a regular file"},
	}
}

func (fakeNode) ExportCrash(_ context.Context, r *connect.Request[blixardv1.ExportCrashRequest], s *connect.ServerStream[blixardv1.CrashChunk]) error {
	if r.Msg.GetNumber() != 2 {
		return refuse(vm.NotFound, "blixard vm crashes web", "of crash %d of %s no bundle is kept", r.Msg.GetNumber(), r.Msg.GetName())
	}
	for _, part := range []string{"an archive", " in two parts\n"} {
		if err := s.Send(&blixardv1.CrashChunk{Data: []byte(part)}); err != nil {
			return err
		}
	}
	return nil
}

func (fakeNode) PruneCrashes(_ context.Context, r *connect.Request[blixardv1.PruneCrashesRequest]) (*connect.Response[blixardv1.PruneCrashesResponse], error) {
	if r.Msg.GetOlderThan().AsDuration() > 90*24*time.Hour {
		return connect.NewResponse(&blixardv1.PruneCrashesResponse{}), nil
	}
	out := &blixardv1.PruneCrashesResponse{Pruned: []*blixardv1.Pruned{{Name: "web", Number: 1, Bytes: 70_000}}}
	if r.Msg.GetAll() {
		out.Pruned = append(out.Pruned, &blixardv1.Pruned{Name: "db", Number: 4, Bytes: int64(20 * vm.MiB)})
	}
	return connect.NewResponse(out), nil
}

func (fakeNode) DumpVM(_ context.Context, r *connect.Request[blixardv1.DumpVMRequest]) (*connect.Response[blixardv1.DumpVMResponse], error) {
	if r.Msg.GetName() == "db" {
		return nil, refuse(vm.WrongPhase, "blixard vm start --wait db", "db is backoff, a dump needs a running or paused guest")
	}
	if _, err := named(r.Msg.GetName()); err != nil {
		return nil, err
	}
	f := r.Msg.GetFormat()
	return connect.NewResponse(&blixardv1.DumpVMResponse{Path: "/var/lib/blixard/vms/web/memory." + f, Format: f, Bytes: int64(20 * vm.MiB)}), nil
}

// An archive becomes a file of its own: none that is there is written over, and
// of one that is refused nothing stays.
func TestAnExportIsANewFileOrNothing(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNode(t))
	dir := t.TempDir()
	to := filepath.Join(dir, "web-2.tar")
	code, out, errs := runOnce([]string{"vm", "crashes", "web", "2", "--export", to}, "", false)
	if code != 0 || out != "web: the bundle of crash 2 is in "+to+" (24B)\n" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
	if err := os.WriteFile(to, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs = runOnce([]string{"vm", "crashes", "web", "2", "--export", to}, "", false)
	if code == 0 || out != "" || !strings.Contains(errs, "exists already, and is not overwritten; try: another name") {
		t.Errorf("onto a file: exit %d, %q, %q", code, out, errs)
	}
	if code, _, _ := runOnce([]string{"vm", "crashes", "web", "3", "--export", filepath.Join(dir, "web-3.tar")}, "", false); code == 0 {
		t.Error("a bundle that isn't kept was exported")
	}
	text, err := os.ReadFile(to)
	left, _ := os.ReadDir(dir)
	if err != nil || string(text) != "mine" || len(left) != 1 {
		t.Errorf("%q, %v; there are %v", text, err, left)
	}
}

// A script gets the evidence whole, a person as much as a line holds.
func TestEvidenceIsCutForPeopleAlone(t *testing.T) {
	long := strings.Repeat("x", 200)
	for width, want := range map[int]int{0: 60, 80: 60, 200: 100, 400: 200} {
		c := &cli{terminal: &terminal{width: width}}
		if n := len([]rune(c.short(long, false))); n != want || c.short(long, true) != long {
			t.Errorf("%d columns show %d of it, want %d", width, n, want)
		}
	}
}

func TestADecisionIsToldByItsRemedyWhereThatSaysMore(t *testing.T) {
	for want, d := range map[string]*blixardv1.Decision{
		"reset": {Do: "restart", Remedy: "reset"}, "restore": {Do: "restart", Remedy: "restore"}, "hold": {Do: "give-up", Remedy: "hold"}, "kill": {Do: "restart", Remedy: "kill"},
		"restart, in 4s": {Do: "backoff", Remedy: "restart", After: durationpb.New(4 * time.Second)}, "backoff": {Do: "backoff", After: durationpb.New(time.Second)},
		"give-up": {Do: "give-up", Remedy: "kill"}, "restart": {Do: "restart"}, "": nil,
	} {
		if got := verdict(d); got != want {
			t.Errorf("%v is told as %q, want %q", d, got, want)
		}
	}
}

// What nobody could see is told as it was found, and a bundle that may still come
// isn't told as one that is gone.
func TestACrashTellsWhenItWasFoundAndThatItsBundleIsWritten(t *testing.T) {
	dead := &blixardv1.Crash{Number: 1, At: ago(2 * time.Second), Cause: string(vm.CauseUnknown), Evidence: policies.EndedUnseen}
	var out bytes.Buffer
	c := &cli{terminal: &terminal{out: &out, now: func() time.Time { return noon }}}
	if err := c.crashBlock("web", &blixardv1.GetCrashResponse{Crash: dead}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Found at: ", "Found after: ", "not yet: it is being written"} {
		if !strings.Contains(strings.ReplaceAll(out.String(), ":    ", ": "), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
	for want, one := range map[string]*blixardv1.Crash{
		"writing": dead, "": {At: ago(time.Minute)}, "none": {At: ago(time.Second), NoBundle: "no room"}, "1KiB": {At: ago(time.Second), BundleBytes: 1024},
	} {
		if got := c.bundleCell(one); got != want {
			t.Errorf("%v shows %q, want %q", one, got, want)
		}
	}
}
