package folders

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// onShelf are bundles of those sizes in MiB, one a minute, the last one a minute ago.
func onShelf(now time.Time, sizes ...int) (out []vm.KeptBundle) {
	for i, n := range sizes {
		out = append(out, vm.KeptBundle{
			Number: uint64(i + 1), At: now.Add(time.Duration(i-len(sizes)) * time.Minute), Bytes: vm.Bytes(n) * vm.MiB,
		})
	}
	return out
}

func TestTheOldestBundlesAreBeyondTheQuota(t *testing.T) {
	now := died
	for story, one := range map[string]struct {
		quota   vm.BundleQuota
		shelves map[vm.Name][]vm.KeptBundle
		want    string
	}{
		"no quota":                  {vm.BundleQuota{}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1)}, ""},
		"within":                    {vm.BundleQuota{Node: 4 * vm.MiB, VM: 2 * vm.MiB, Count: 2, Age: time.Hour}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1), "b": onShelf(now, 1, 1)}, ""},
		"too many":                  {vm.BundleQuota{Count: 2}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1, 1, 1), "b": onShelf(now, 1)}, "a1 a2"},
		"too old":                   {vm.BundleQuota{Age: 90 * time.Second}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1, 1)}, "a1 a2"},
		"the newest too old":        {vm.BundleQuota{Age: time.Second}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1)}, "a1"},
		"a VM holds too much":       {vm.BundleQuota{VM: 3 * vm.MiB}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 2, 1, 1), "b": onShelf(now, 3)}, "a1"},
		"the newest alone too much": {vm.BundleQuota{VM: 3 * vm.MiB}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 4)}, "a1 a2"},
		"the node holds too much":   {vm.BundleQuota{Node: 4 * vm.MiB}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1, 1), "b": onShelf(now, 1, 1)}, "a1"},
		"newest ones go last":       {vm.BundleQuota{Node: 2 * vm.MiB}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1, 1, 1), "b": onShelf(now.Add(-time.Hour), 1)}, "a1 a2"},
		"even newest ones":          {vm.BundleQuota{Node: vm.MiB}, map[vm.Name][]vm.KeptBundle{"a": onShelf(now, 1), "b": onShelf(now.Add(-time.Hour), 1)}, "b1"},
	} {
		var got []string
		all := beyond(one.quota, now, one.shelves)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, k := range all[name] {
				got = append(got, fmt.Sprintf("%s%d", name, k.Number))
			}
		}
		if s := strings.Join(got, " "); s != one.want {
			t.Errorf("%s: %q go, want %q", story, s, one.want)
		}
	}
}

func TestACrashLoopStaysInItsQuota(t *testing.T) {
	f, r := newFolders(t), record("web", 0)
	quota := vm.BundleQuota{Node: vm.GiB, VM: 100 * vm.KiB, Count: 20}
	for n := range uint64(200) {
		r.State.Incarnation++
		logged(t, prepared(t, f, r), strings.Repeat("panic\n", 1000), "oops")
		keptBundle(t, f, r, n+1)
		if err := (Bundles{f}).Enforce(t.Context(), quota); err != nil {
			t.Fatal(err)
		}
		all, err := Bundles{f}.List(t.Context(), r.Ref())
		if err != nil || len(all) > quota.Count || all[len(all)-1].Number != n+1 {
			t.Fatalf("after %d: %v, %v", n+1, all, err)
		}
		sum := vm.Bytes(0)
		for _, k := range all {
			sum += k.Bytes
		}
		if sum > quota.VM {
			t.Fatalf("after %d they hold %v", n+1, sum)
		}
	}
	logs, err := filepath.Glob(filepath.Join(f.Paths(r.Ref()).Folder, "*.log"))
	if err != nil || len(logs) != 2*keptLogs {
		t.Errorf("%d logs are left, %v", len(logs), err)
	}
}

func TestWhatWasPrunedIsOwedToNobody(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	for n := range uint64(3) {
		keptBundle(t, f, r, n+1)
	}
	gone, err := Bundles{f}.Prune(t.Context(), r.Ref(), func(k vm.KeptBundle) bool { return k.Number != 1 })
	if err != nil || len(gone) != 2 || !slices.Equal(listed(t, f, r), []uint64{1}) {
		t.Errorf("pruned %v, %v; left %v", gone, err, listed(t, f, r))
	}
	for n, want := range map[uint64]bool{1: false, 2: false, 3: false, 4: true} {
		if owed, err := (Bundles{f}).Owed(t.Context(), r.Ref(), n); err != nil || owed != want {
			t.Errorf("crash %d: owed %v, %v", n, owed, err)
		}
	}
	if gone, err := (Bundles{f}).Prune(t.Context(), r.Ref(), func(vm.KeptBundle) bool { return false }); err != nil || len(gone) != 0 {
		t.Errorf("then pruned %v, %v", gone, err)
	}
}

func TestTheNextDaemonFindsWhatIsBeyondTheQuota(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	prepared(t, f, r)
	for n := range uint64(3) {
		keptBundle(t, f, r, n+1)
	}
	stray := filepath.Join(f.State, "vms", "stray")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := New(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := (Bundles{after}).Enforce(t.Context(), vm.BundleQuota{Count: 1}); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, after, r); !slices.Equal(got, []uint64{3}) {
		t.Errorf("left are %v", got)
	}
}

func TestADumpIsWholeBoundedAndOfItsDeath(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	b := Bundles{f}
	d, err := b.NewDump(t.Context(), r.Ref(), vm.DumpELF, 1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(bytes.Repeat([]byte("m"), 10)); err != nil {
		t.Error(err)
	}
	_, err = d.Write([]byte("m"))
	wantKind(t, "more than it may", err, host.Broken, "larger than 10B")
	d.Drop()
	d.Drop()
	if left, err := os.ReadDir(filepath.Join(at.Folder, bundlesName)); err != nil || len(left) != 0 {
		t.Errorf("given up, it leaves %v, %v", left, err)
	}
	_, err = b.NewDump(t.Context(), r.Ref(), "core", 1, 10)
	wantKind(t, "another format", err, host.Broken, "core")

	dumped(t, f, r, 1, "of incarnation 7")
	r.State.Incarnation++
	prepared(t, f, r)
	dumped(t, f, r, 1, "of incarnation 8")
	if k := keptBundle(t, f, r, 1); !k.Dump {
		t.Errorf("kept %+v", k)
	}
	text, err := os.ReadFile(filepath.Join(at.Folder, bundlesName, "1", "dump.kdump"))
	if err != nil || string(text) != "of incarnation 8" {
		t.Errorf("it took over %q, %v", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(at.Folder, bundlesName, "dump-*")); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestAskedDumpsReplaceEachOther(t *testing.T) {
	f, r := newFolders(t), record("web", 7)
	at := prepared(t, f, r)
	for i, format := range []vm.DumpFormat{vm.DumpKdump, vm.DumpELF, vm.DumpELF} {
		d, err := Bundles{f}.NewDump(t.Context(), r.Ref(), format, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(d, i); err != nil {
			t.Fatal(err)
		}
		path, n, err := d.Keep(t.Context())
		if err != nil || n != 1 || path != filepath.Join(at.Folder, "memory."+string(format)) {
			t.Errorf("kept %s of %d bytes: %v", path, n, err)
		}
		found, err := filepath.Glob(filepath.Join(at.Folder, "memory.*"))
		if err != nil || len(found) != 1 || found[0] != path {
			t.Errorf("there are %v, %v", found, err)
		}
	}
}
