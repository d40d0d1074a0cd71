package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
)

// cautious is a node as it is by default, but for the processors of the test's machine.
const cautious = "resources: {overcommit: {cpu: 100}}\n"

// TestSixVMsThatDoNotFitAreRefusedAtTheSecond: each wants seven eighths of what
// the machine can promise, so that a node that counts nothing would take them
// all, and the kernel would end one at random.
func TestSixVMsThatDoNotFitAreRefusedAtTheSecond(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{Config: cautious})
	room := w.resources().GetFree().GetMemoryBytes()
	size := room / 8 * 7 >> 20 << 20
	create := func(i int) node.Result {
		r, err := w.CLI(w.ctx, "vm", "create", fmt.Sprintf("big-%d", i), "--memory", fmt.Sprintf("%dMiB", size>>20))
		w.must(err)
		return r
	}
	if r := create(1); r.Code != 0 {
		t.Fatalf("the first of %d MiB does not fit into %d MiB: %s", size>>20, room>>20, r)
	}
	for i := 2; i <= 6; i++ {
		r := create(i)
		for _, word := range []string{" of memory (", " for its VMM)", " free, ", "reserved by 1 VM", " for the host", "lower memory to at most ", "overcommit.memory"} {
			if r.Code == 0 || !strings.Contains(r.Stderr, word) {
				t.Errorf("number %d: %q is missed in %s", i, word, r)
			}
		}
		if i == 2 {
			t.Logf("the second of six: %s", r)
		}
	}
	w.must(w.Kill()) // nothing of what was refused is held, nothing of what was granted forgotten
	w.start()
	if have := w.resources(); have.GetVms() != 1 || have.GetFree().GetMemoryBytes() >= size {
		t.Errorf("after a restart of the daemon: %d VMs, %d MiB free", have.GetVms(), have.GetFree().GetMemoryBytes()>>20)
	}
	spec := filepath.Join(w.Root, "big-2.yaml")
	w.must(os.WriteFile(spec, fmt.Appendf(nil, "name: big-2\nmemory: %dMiB\n", size>>20), 0o600))
	if r, err := w.CLI(w.ctx, "apply", "--dry-run", "-f", spec); err != nil || r.Code == 0 {
		t.Errorf("a dry run finds room: %s, %v", r, err)
	}
	if r, err := w.CLI(w.ctx, "vm", "delete", "big-1", "--wait"); err != nil || r.Code != 0 {
		t.Fatalf("%s, %v", r, err)
	}
	if r, err := w.CLI(w.ctx, "apply", "--dry-run", "-f", spec); err != nil || r.Code != 0 {
		t.Errorf("a dry run finds no room: %s, %v", r, err)
	}
	if r := create(2); r.Code != 0 {
		t.Errorf("there is room again: %s", r)
	}
}

// resources is what the node says to have.
func (w *world) resources() *v1.NodeResourcesResponse {
	w.t.Helper()
	r, err := w.NodeResources(w.ctx, connect.NewRequest(&v1.NodeResourcesRequest{}))
	w.must(err)
	return r.Msg
}
