package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/host/runner"
	"github.com/blixard/blixard/vm"
)

// A VM of a runner that is restarted with another spec is one of QEMU's: its
// session must not be looked for where the runner's was.
func TestARunnerIsForgottenWhenAnotherSpecStarts(t *testing.T) {
	dir := t.TempDir()
	f := host.Paths{Folder: dir}
	noted := filepath.Join(dir, "booted.json")
	if err := os.WriteFile(noted, []byte(`{"incarnation":1,"runner":"/srv/runners/web","qmp":"web.sock"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if !runner.Started(f) {
		t.Fatalf("%s is not where a runner notes its start", noted)
	}
	v := &vmms{
		runner: runner.New(runner.Config{}),
		driver: func() (*qemu.Driver, error) { return qemu.New(qemu.Config{}), nil },
	}
	ref := vm.Ref{VM: "0123456789abcdef", Name: "web", Incarnation: 2, BootID: "b"}
	if err := v.Prepare(t.Context(), ref, vm.Spec{Boot: vm.Boot{Image: "builtin"}}, f); err != nil {
		t.Fatal(err)
	}
	if runner.Started(f) {
		t.Error("the runner of the incarnation before counts as started")
	}
}
