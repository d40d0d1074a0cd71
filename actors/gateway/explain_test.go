package gateway

import (
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/vm"
)

func explained(t *testing.T, records ...vm.Record) string {
	t.Helper()
	client, _ := socket(t, newWorld(records...).door(t), peer(1))
	status, text := post(t, client, "ExplainVM", strings.NewReader(`{"name":"`+string(records[0].Spec.Name)+`"}`))
	if status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	return text
}

func TestExplainNamesWhomNobodyKnows(t *testing.T) {
	r := record("web", vm.Running)
	r.Spec.Autostart.DependsOn = []vm.Dependency{{VM: "db"}, {VM: "cahce"}, {VM: "queu"}}
	const says = "it is to wait for cahce and queu at a boot of the node, but there is no VM of that name, so it starts without"
	if text := explained(t, r, record("db", vm.Stopped)); !strings.Contains(text, says) {
		t.Errorf("want %q in %s", says, text)
	}
	if text := explained(t, record("web", vm.Running)); strings.Contains(text, "no VM") {
		t.Error(text)
	}
}

// A guest that doesn't come up is waited for by its checks: which, and what
// they look for, is what a person has to know.
func TestExplainNamesWhatAStartWaitsFor(t *testing.T) {
	r := record("web", vm.Starting)
	r.State.LaunchedAt = someTime
	r.Spec.Health = []vm.Check{
		{Type: vm.CheckConsole, Healthy: "login:"},
		{Type: vm.CheckConsole, Unhealthy: "panic"},
		{Type: vm.CheckAgent},
		{Type: vm.CheckTCP, Name: "ssh", Role: vm.RoleStartup},
		{Type: vm.CheckTCP, Name: "serves", Role: vm.RoleReadiness},
	}
	const says = `it counts as up once the console matches \"login:\" and the check guest-agent passes and the check ssh passes"`
	if text := explained(t, r); !strings.Contains(text, says) {
		t.Errorf("while it starts: want %q in %s", says, text)
	}
	r.State.Phase, r.State.LastExit = vm.Backoff, &vm.Crash{Failure: vm.Failure{
		Incarnation: r.State.Incarnation, Cause: vm.CauseStartTransient, Evidence: "still starting after 2m", At: someTime.Add(2 * time.Minute),
	}}
	if text := explained(t, r); !strings.Contains(text, says) {
		t.Errorf("after it was late: want %q in %s", says, text)
	}
	r.State.LastExit.Failure.Ready = true
	if text := explained(t, r); strings.Contains(text, "it counts as up once") {
		t.Errorf("it had answered, and yet: %s", text)
	}
	r.Spec.Health, r.State.Phase = nil, vm.Starting
	if text := explained(t, r); strings.Contains(text, "it counts as up once") {
		t.Errorf("without checks: %s", text)
	}
}
