package gateway

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/vm"
)

// manyBytes exports more than one message takes.
type manyBytes struct{ host.Bundles }

const exported = 3*exportChunk + 7

func (b manyBytes) Export(ctx context.Context, ref vm.Ref, number uint64, into io.Writer) error {
	if err := b.Bundles.Export(ctx, ref, number, io.Discard); err != nil {
		return err
	}
	_, err := io.CopyN(into, strings.NewReader(strings.Repeat("b", exported)), exported)
	return err
}

// shelved is a world whose VM web died three times; of the second death nothing is kept.
func shelved(t *testing.T) (*world, func(*Config)) {
	t.Helper()
	r := record("web", vm.Running)
	r.State.Crashes, r.State.Incarnation = 3, 4
	w := newWorld(r)
	machine := fake.New(1, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{} }, t.Logf)
	ports := machine.Daemon().Ports()
	if err := ports.Folders.Prepare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for n := uint64(3); n > 0; n-- {
		c := vm.Crash{Number: n, Failure: vm.Failure{Incarnation: vm.Incarnation(n), Cause: vm.CauseVMMCrash, At: someTime.Add(-time.Duration(10-n) * time.Hour)}}
		w.crashes = append(w.crashes, c)
		if n == 2 {
			continue
		}
		one := vm.Bundle{Crash: c, Name: "web", Notes: &vm.Notes{Notices: []vm.Said{{Kind: "panic", Detail: "\xff"}}, Dump: &vm.Dumped{Why: "no room"}}}
		if _, err := ports.Bundles.Keep(t.Context(), r.Ref(), one); err != nil {
			t.Fatal(err)
		}
	}
	return w, func(c *Config) { c.Bundles = manyBytes{ports.Bundles} }
}

func TestCrashesTellOfTheirBundles(t *testing.T) {
	w, with := shelved(t)
	_, client := socket(t, w.door(t, with), peer(1))
	res, err := client.ListCrashes(t.Context(), connect.NewRequest(&blixardv1.ListCrashesRequest{Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Msg.GetCrashes() {
		if none := c.GetNumber() == 2; (c.GetBundleBytes() == 0) != none || (c.GetNoBundle() != "") != none {
			t.Errorf("crash %d: %v", c.GetNumber(), c)
		}
	}
	one, err := client.GetCrash(t.Context(), connect.NewRequest(&blixardv1.GetCrashRequest{Name: "web", Number: 3}))
	if err != nil || one.Msg.GetEvidence().GetDump().GetWhy() != "no room" || one.Msg.GetEvidence().GetNotices()[0].GetDetail() != "\uFFFD" {
		t.Errorf("its evidence: %v, %v", one, err)
	}
	bare, err := client.GetCrash(t.Context(), connect.NewRequest(&blixardv1.GetCrashRequest{Name: "web", Number: 2}))
	if err != nil || bare.Msg.GetEvidence() != nil || bare.Msg.GetCrash().GetNoBundle() == "" {
		t.Errorf("one without a bundle: %v, %v", bare, err)
	}
}

func TestABundleIsStreamedWhole(t *testing.T) {
	w, with := shelved(t)
	_, client := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
	read := func(n uint64) (size int, err error) {
		s, err := client.ExportCrash(t.Context(), connect.NewRequest(&blixardv1.ExportCrashRequest{Name: "web", Number: n}))
		if err != nil {
			return 0, err
		}
		defer func() { _ = s.Close() }()
		for s.Receive() {
			size += len(s.Msg().GetData())
		}
		return size, s.Err()
	}
	if n, err := read(3); n != exported || err != nil {
		t.Errorf("%d bytes of %d: %v", n, exported, err)
	}
	for _, n := range []uint64{0, 2, 9} {
		if _, err := read(n); err == nil || messages.RefusalOf(err).Code != vm.NotFound {
			t.Errorf("crash %d: %v", n, err)
		}
	}
}

func TestBundlesArePrunedAsAsked(t *testing.T) {
	for _, one := range []struct {
		ask  *blixardv1.PruneCrashesRequest
		gone string
		code vm.Code
	}{
		{&blixardv1.PruneCrashesRequest{Name: "web"}, "web 1, web 3", ""},
		{&blixardv1.PruneCrashesRequest{Name: "web", Number: 3}, "web 3", ""},
		{&blixardv1.PruneCrashesRequest{Name: "web", Number: 2}, "", vm.NotFound},
		{&blixardv1.PruneCrashesRequest{Name: "web", Number: 44}, "", vm.NotFound},
		{&blixardv1.PruneCrashesRequest{Name: "web", OlderThan: durationpb.New(8 * time.Hour)}, "web 1", ""},
		{&blixardv1.PruneCrashesRequest{All: true, OlderThan: durationpb.New(0)}, "web 1, web 3", ""},
		{&blixardv1.PruneCrashesRequest{All: true, OlderThan: durationpb.New(100 * time.Hour)}, "", ""},
		{&blixardv1.PruneCrashesRequest{All: true, Name: "web"}, "", vm.Invalid},
		{&blixardv1.PruneCrashesRequest{Name: "web", OlderThan: durationpb.New(-1)}, "", vm.Invalid},
		{&blixardv1.PruneCrashesRequest{}, "", vm.Invalid},
	} {
		w, with := shelved(t)
		_, client := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
		res, err := client.PruneCrashes(t.Context(), connect.NewRequest(one.ask))
		var gone []string
		if err == nil {
			for _, p := range res.Msg.GetPruned() {
				gone = append(gone, fmt.Sprint(p.GetName(), " ", p.GetNumber()))
			}
		}
		if got := strings.Join(gone, ", "); got != one.gone || (err != nil) != (one.code != "") || err != nil && messages.RefusalOf(err).Code != one.code {
			t.Errorf("%v: pruned %q, %v; want %q", one.ask, got, err, one.gone)
		}
	}
}

// What is refused says what a person needs, and nothing of folders or system calls.
func TestABundleThatIsLeftOrMissingIsToldOfInOneSentence(t *testing.T) {
	w, with := shelved(t)
	_, client := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
	_, err := client.PruneCrashes(t.Context(), connect.NewRequest(&blixardv1.PruneCrashesRequest{Name: "web", Number: 3, OlderThan: durationpb.New(100 * time.Hour)}))
	if r := messages.RefusalOf(err); err == nil || !strings.HasPrefix(r.Why, "the bundle of crash 3 of web is ") || !strings.HasSuffix(r.Why, " old, younger than 100h, and was left") {
		t.Errorf("a younger one: %v", err)
	}
	s, err := client.ExportCrash(t.Context(), connect.NewRequest(&blixardv1.ExportCrashRequest{Name: "web", Number: 9}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for s.Receive() {
	}
	if r := messages.RefusalOf(s.Err()); r == nil || r.Why != "web has no crash 9 on record, its last is 3" {
		t.Errorf("a missing one: %v", s.Err())
	}
}

func TestSecretsOfGuestsAreForAdministrators(t *testing.T) {
	w, with := shelved(t)
	_, client := socket(t, w.door(t, with), peer(2))
	s, err := client.ExportCrash(t.Context(), connect.NewRequest(&blixardv1.ExportCrashRequest{Name: "web", Number: 3}))
	if err == nil {
		if s.Receive() {
			t.Error("an operator has the bundle")
		}
		err = s.Err()
	}
	if messages.RefusalOf(err).Code != vm.Denied {
		t.Error("export:", err)
	}
	if _, err := client.DumpVM(t.Context(), connect.NewRequest(&blixardv1.DumpVMRequest{Name: "web"})); messages.RefusalOf(err).Code != vm.Denied {
		t.Error("dump:", err)
	}
	_, admin := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
	res, err := admin.DumpVM(t.Context(), connect.NewRequest(&blixardv1.DumpVMRequest{Name: "web"}))
	if err != nil || res.Msg.GetPath() == "" || res.Msg.GetFormat() != "kdump" {
		t.Errorf("dumped %v, %v", res, err)
	}
	for _, ask := range []*blixardv1.DumpVMRequest{{Name: "web", Format: "core"}, {Name: "web", Timeout: durationpb.New(2 * time.Hour)}, {Name: "web", Timeout: durationpb.New(0)}} {
		if _, err := admin.DumpVM(t.Context(), connect.NewRequest(ask)); messages.RefusalOf(err).Code != vm.Invalid {
			t.Errorf("%v: %v", ask, err)
		}
	}
}

func TestABundleOfNoCrashIsRefusedAsSuch(t *testing.T) {
	w, with := shelved(t)
	_, client := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
	for number, want := range map[uint64]string{44: "web has no crash 44 on record", 2: "of crash 2 of web no bundle is kept"} {
		_, err := client.PruneCrashes(t.Context(), connect.NewRequest(&blixardv1.PruneCrashesRequest{Name: "web", Number: number}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("crash %d: %v, want %q", number, err, want)
		}
	}
}
