package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// wound is damage to a store whose daemon is down.
type wound struct {
	what string
	do   func(s *site, store string)
}

// wounds are done one after the other, each to a store that was repaired from the one before.
func wounds() []wound {
	return []wound{
		{"the store is deleted", func(s *site, store string) { s.must(os.RemoveAll(store)) }},
		{"its log is cut in half", eachOf("*.log", func(b []byte) []byte { return b[:len(b)/2] })},
		{"a bit of its log is flipped", eachOf("*.log", flipped)},
		{"its log is empty", eachOf("*.log", func([]byte) []byte { return []byte{} })},
		{"its log is deleted", eachOf("*.log", nil)},
		{"a bit of its tables is flipped", eachOf("*.sst", flipped)},
		{"its tables are cut", eachOf("*.sst", func(b []byte) []byte { return b[:len(b)-10] })},
		{"its tables are deleted", eachOf("*.sst", nil)},
		{"a bit of its manifest is flipped", eachOf("MANIFEST-*", flipped)},
		{"its manifest is deleted", eachOf("MANIFEST-*", nil)},
		{"its markers are deleted", eachOf("marker.*", nil)},
		{"its options are garbage", eachOf("OPTIONS-*", func([]byte) []byte { return []byte("garbage") })},
	}
}

// eachOf changes the files of that pattern that hold something, or deletes them
// where change is nil. A store without such a file can't be wounded so.
func eachOf(pattern string, change func([]byte) []byte) func(*site, string) {
	return func(s *site, store string) {
		s.t.Helper()
		names, err := filepath.Glob(filepath.Join(store, pattern))
		s.must(err)
		if len(names) == 0 {
			s.t.Fatalf("the store has no %s", pattern)
		}
		for _, name := range names {
			if change == nil {
				s.must(os.Remove(name))
				continue
			}
			b, err := os.ReadFile(name)
			s.must(err)
			if used := bytes.TrimRight(b, "\x00"); len(used) > 0 || pattern != "*.log" {
				s.must(os.WriteFile(name, change(used), 0o600))
			}
		}
	}
}

func flipped(b []byte) []byte {
	if len(b) > 0 {
		b[len(b)/2] ^= 0x10
	}
	return b
}

// Whatever becomes of the store, the VMs run on, nobody's VM is forgotten or
// started that was asked down, and a repair is all that it takes. A daemon that
// opens a wounded store as if nothing were has to have lost nothing.
func TestStoreIsLostAndTheVMsStay(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	vms := s.crew("vm", 3)
	s.stopped(s.PVH("down"))
	all := wounds()
	if !allScenarios() {
		all = slices.DeleteFunc(all, func(w wound) bool {
			return !slices.Contains([]string{"the store is deleted", "a bit of its log is flipped", "its tables are deleted"}, w.what)
		})
	}
	for _, w := range all {
		s.step(w.what, func(s *site) {
			s.must(s.Restart(s.ctx)) // what was in the log is in a table now
			vms[0] = s.heals("vm-0") // and there is something new in the log
			s.systemctl("stop", "blixard.service")
			w.do(s, filepath.Join(s.State, "store"))
			s.systemctl("start", "blixard.service")
			s.must(s.Ready(s.ctx))
			s.undisturbed(w.what, vms...)
			if why := s.safeMode(); why != "" {
				s.t.Logf("safe mode: %s", why)
				s.changesNothing()
				s.undisturbed("in safe mode", vms...)
				s.repair()
				s.undisturbed("by the repair", vms...)
			}
			s.reaches("down", "stopped", soon)
			s.only(pids(vms)...)
		})
	}
}

func (s *site) safeMode() string {
	s.t.Helper()
	status, err := s.NodeStatus(s.ctx, connect.NewRequest(&v1.NodeStatusRequest{}))
	s.must(err)
	return status.Msg.GetSafeMode()
}

// repair ends safe mode. The node begins anew a moment after its answer, and
// cuts off who calls meanwhile.
func (s *site) repair() {
	s.t.Helper()
	_, err := s.CLI(s.ctx, "node", "repair", "--yes")
	s.must(err)
	s.eventually("safe mode ends", soon, func() bool {
		s.HangUp()
		status, err := s.NodeStatus(s.ctx, connect.NewRequest(&v1.NodeStatusRequest{}))
		return err == nil && status.Msg.GetSafeMode() == ""
	})
}

// changesNothing fails unless safe mode refuses to start, make and delete.
func (s *site) changesNothing() {
	s.t.Helper()
	for what, ask := range map[string]func() error{
		"start":  func() error { _, err := s.StartOf(s.ctx, "down"); return err },
		"create": func() error { _, err := s.Create(s.ctx, s.PVH("more"), true); return err },
		"delete": func() error { _, err := s.DeleteOf(s.ctx, "vm-1"); return err },
	} {
		if err := ask(); node.Refusal(err) == nil {
			s.t.Errorf("%s in safe mode: want a refusal, got %v", what, err)
		}
	}
	vms, err := s.List(s.ctx)
	s.must(err)
	if !slices.ContainsFunc(vms, func(vm *v1.VM) bool { return vm.GetName() == "down" }) {
		s.t.Error("a VM that was down is not known in safe mode")
	}
}

// The store is deleted while its daemon runs: the daemon ends, or goes on, but
// what it does next is no harm to a VM.
func TestStoreIsDeletedUnderTheDaemon(t *testing.T) {
	t.Parallel()
	s := settle(t, node.Options{})
	vms := s.crew("vm", 3)
	s.must(os.RemoveAll(filepath.Join(s.State, "store")))
	_, err := s.Create(s.ctx, s.PVH("more"), false) // the next write, wherever it goes
	s.t.Logf("a VM made without a store: %v", err)
	s.must(s.Ready(s.ctx))
	s.undisturbed("the store deleted", vms...)
	s.must(s.Kill(s.ctx))
	s.undisturbed("the daemon started without its store", vms...)
	if s.safeMode() == "" {
		s.t.Error("the store was deleted, and the daemon is not in safe mode")
		return
	}
	s.repair()
	vms[0] = s.heals("vm-0")
	s.only(pids(vms)...)
}
