package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/blixard/blixard/host/fake"
	"github.com/blixard/blixard/messages"
	"github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/messages/blixardv1/blixardv1connect"
	"github.com/blixard/blixard/vm"
)

const hidden = "s3cr3t"

// keepsSecrets is a spec with a secret in each place that may hold one.
func keepsSecrets(s vm.Spec) vm.Spec {
	s.Health = []vm.Check{
		{Type: vm.CheckHTTP, URL: "http://10.0.0.2/", Headers: []vm.Header{{Name: "Accept", Value: "*/*"}, {Name: "Authorization", Value: "Bearer " + hidden}}},
		{Name: "login", Type: vm.CheckConsole, Send: hidden, Healthy: "ok"},
	}
	s.Seed = vm.Seed{Hostname: "web", SSHKeys: []string{"ssh-ed25519 AAAA"}, UserData: "#cloud-config\npassword: " + hidden, Network: "wifi: " + hidden}
	return s
}

// secretive is a world whose VM web has secrets in its spec, in what runs, in
// what waits and in the evidence of its death.
func secretive(t *testing.T) (*world, func(*Config)) {
	t.Helper()
	r := record("web", vm.Running)
	r.Spec = keepsSecrets(r.Spec)
	runs := r.Spec
	runs.Seed.UserData, runs.Seed.Network = "#cloud-config\npassword: older "+hidden, ""
	runs.Health = append([]vm.Check{{Type: vm.CheckHTTP, URL: "http://10.0.0.2/", Headers: []vm.Header{{Name: "Accept", Value: hidden}}}}, runs.Health[1])
	runs.Health[1].Send = "older " + hidden
	r.State.Pending, r.State.Runs, r.State.Crashes = true, &vm.Began{Spec: runs}, 1
	w := newWorld(r)
	machine := fake.New(1, fake.Watch{}, func(vm.Ref) fake.Guest { return fake.Guest{} }, t.Logf)
	ports := machine.Daemon().Ports()
	if err := ports.Folders.Prepare(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	c := vm.Crash{Number: 1, Failure: vm.Failure{Incarnation: 1, Cause: vm.CauseVMMCrash, At: someTime}}
	w.crashes = []vm.Crash{c}
	if _, err := ports.Bundles.Keep(t.Context(), r.Ref(), vm.Bundle{Crash: c, Name: "web", Spec: r.Spec}); err != nil {
		t.Fatal(err)
	}
	return w, func(c *Config) { c.Bundles = ports.Bundles }
}

// answersWithSpecs are all the ways on which a caller without a change gets a spec.
func answersWithSpecs(t *testing.T, client blixardv1connect.NodeClient) map[string]string {
	t.Helper()
	out := map[string]string{}
	said := func(way string, m proto.Message, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(way, err)
		}
		b, err := messages.JSON{}.Marshal(m)
		if err != nil {
			t.Fatal(way, err)
		}
		out[way] = string(b)
	}
	vmOf, err := client.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
	said("show", vmOf.Msg, err)
	list, err := client.ListVMs(t.Context(), connect.NewRequest(&blixardv1.ListVMsRequest{}))
	said("list", list.Msg, err)
	told, err := client.ExplainVM(t.Context(), connect.NewRequest(&blixardv1.ExplainVMRequest{Name: "web"}))
	said("explain", told.Msg, err)
	waited, err := client.WaitVM(t.Context(), connect.NewRequest(&blixardv1.WaitVMRequest{Name: "web", Phase: "running"}))
	said("wait", waited.Msg, err)
	crash, err := client.GetCrash(t.Context(), connect.NewRequest(&blixardv1.GetCrashRequest{Name: "web", Number: 1}))
	said("crash", crash.Msg, err)
	for _, typ := range []string{"GetVM", "ExplainVM", "GetCrash"} {
		body, _ := json.Marshal(map[string]int{"number": 1})
		if typ != "GetCrash" {
			body = []byte("{}")
		}
		sent, err := client.Send(t.Context(), connect.NewRequest(&blixardv1.SendRequest{Path: "vm/web", Type: typ, Json: string(body)}))
		said("send "+typ, sent.Msg, err)
	}
	return out
}

func TestViewersGetTheSizesOfSecretsAndNothingMore(t *testing.T) {
	w, with := secretive(t)
	for uid, sees := range map[int]bool{1: false, 2: true} {
		_, client := socket(t, w.door(t, with), peer(uid))
		for way, text := range answersWithSpecs(t, client) {
			if strings.Contains(text, hidden) != sees || strings.Contains(text, "redacted") == sees {
				t.Errorf("uid %d, %s: %s", uid, way, text)
			}
			if !strings.Contains(text, "Authorization") {
				t.Errorf("uid %d, %s: the header's name is gone: %s", uid, way, text)
			}
		}
	}
	_, client := socket(t, w.door(t, with), peer(1))
	res, err := client.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := res.Msg.GetSpec().GetSeed().GetUserData(), "redacted: 30 bytes"; got != want {
		t.Errorf("user data of 30 bytes is %q", got)
	}
	want := []string{"seed.network: redacted", "seed.userData: redacted"}
	for _, one := range want {
		if !strings.Contains(strings.Join(res.Msg.GetWaits(), "\n")+"\n", one+"\n") {
			t.Errorf("what waits is %q, and lacks %q", res.Msg.GetWaits(), one)
		}
	}
	if rec, _ := w.Get("web"); rec.Spec.Seed.Network != "wifi: "+hidden {
		t.Errorf("the record itself was redacted: %+v", rec.Spec.Seed)
	}
}

func TestRedactedIsWhatStandsForAText(t *testing.T) {
	for text, want := range map[string]int{
		"redacted: 1 byte": 1, "redacted: 30 bytes": 30,
		"": -1, "redacted: 30 bytes\nof mine": -1, "redacted: -1 bytes": -1, "it was redacted: 3 bytes": -1,
		"redacted: 99999999999999999999 bytes": -1,
	} {
		if n, was := Redacted(text); was != (want >= 0) || was && n != want {
			t.Errorf("%q: %d, %t", text, n, was)
		}
	}
}

// A stream goes around what redacts answers: none may carry a spec.
func TestNoStreamCarriesASpec(t *testing.T) {
	spec := (&blixardv1.VMSpec{}).ProtoReflect().Descriptor().FullName()
	var holds func(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool
	holds = func(m protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
		if m == nil || seen[m.FullName()] {
			return false
		}
		seen[m.FullName()] = true
		found := m.FullName() == spec
		for i := range m.Fields().Len() {
			found = found || holds(m.Fields().Get(i).Message(), seen)
		}
		return found
	}
	services := blixardv1.File_blixard_v1_node_proto.Services()
	for i := range services.Get(0).Methods().Len() {
		m := services.Get(0).Methods().Get(i)
		if m.IsStreamingServer() && holds(m.Output(), map[protoreflect.FullName]bool{}) {
			t.Errorf("%s streams %s, which holds a spec", m.Name(), m.Output().Name())
		}
	}
}

func TestASpecThatAViewerSawIsNotTakenForTheWhole(t *testing.T) {
	w, with := secretive(t)
	_, viewer := socket(t, w.door(t, with), peer(1))
	_, admin := socket(t, w.door(t, with), &messages.Peer{Caller: messages.Caller{UID: 0}})
	res, err := viewer.GetVM(t.Context(), connect.NewRequest(&blixardv1.GetVMRequest{Name: "web"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = admin.Apply(t.Context(), connect.NewRequest(&blixardv1.ApplyRequest{Spec: res.Msg.GetSpec()}))
	if r := messages.RefusalOf(err); err == nil || r.Code != vm.Invalid || !strings.Contains(r.Why, `headers[0].value is "redacted: 3 bytes"`) {
		t.Errorf("applied: %v, %v", r, err)
	}
}
