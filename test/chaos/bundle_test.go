package chaos

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/blixard/blixard/messages/blixardv1"
	"github.com/blixard/blixard/test/node"
	"github.com/blixard/blixard/vm"
)

// exported are the files of a bundle, by their names in it, as tar reads them.
func (w *world) exported(name, number string) map[string][]byte {
	w.t.Helper()
	to := filepath.Join(w.t.TempDir(), "bundle.tar")
	w.ctl(0, "vm", "crashes", name, number, "--export", to)
	at, err := os.Stat(to)
	w.must(err)
	if at.Mode().Perm() != 0o600 {
		w.t.Errorf("the archive has mode %v", at.Mode())
	}
	b, err := os.ReadFile(to)
	w.must(err)
	out := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		w.must(err)
		if path.Dir(h.Name) != name+"-crash-"+number {
			w.t.Errorf("the archive holds %s", h.Name)
		}
		out[path.Base(h.Name)], err = io.ReadAll(r)
		w.must(err)
	}
}

// bundled waits for the bundle of a crash.
func (w *world) bundled(name string, number uint64) *v1.Crash {
	w.t.Helper()
	var found *v1.Crash
	w.eventually("a bundle", soon, func() bool {
		all, err := w.Crashes(w.ctx, name)
		w.must(err)
		for _, c := range all {
			if c.GetNumber() == number && c.GetNoBundle() != "" {
				w.t.Fatalf("no bundle is kept: %s", c.GetNoBundle())
			}
			if c.GetNumber() == number && c.GetBundleBytes() > 0 {
				found = c
			}
		}
		return found != nil
	})
	return found
}

func crashOf(t *testing.T, files map[string][]byte) (b vm.Bundle) {
	t.Helper()
	if err := json.Unmarshal(files["crash.json"], &b); err != nil {
		t.Fatalf("crash.json: %v: %.200q", err, files["crash.json"])
	}
	return b
}

// A guest that panics leaves its memory and its last words, and comes back.
func TestPanicLeavesABundleWithTheGuestsMemory(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	spec := node.Builtin("victim", "blixard.fault=panic@4s")
	spec.Dump = &v1.Dump{On: []string{"guest-panic"}, Format: "kdump", Timeout: seconds(60)}
	first := w.up(spec)
	w.ended("victim", 2*boot)
	c := w.bundled("victim", 1)
	if !c.GetDump() || c.GetCause() != "guest-panic" {
		t.Fatalf("want a panic with a dump: %v\n%s", c, w.ctl(0, "vm", "crashes", "victim", "1").Stdout)
	}
	files := w.exported("victim", "1")
	if !bytes.Contains(files["console.log"], []byte("Kernel panic - not syncing")) {
		t.Errorf("the console ends with %.300q", files["console.log"])
	}
	if d := files["dump.kdump"]; !bytes.HasPrefix(d, []byte("KDUMP")) && !bytes.HasPrefix(d, []byte("makedumpfile")) {
		t.Errorf("the dump begins with %.16q", d)
	}
	b := crashOf(t, files)
	if b.Name != "victim" || b.Crash.Number != 1 || b.Notes == nil || b.Notes.Dump == nil || b.Notes.Dump.Why != "" || len(b.Notes.Notices) == 0 || len(b.Notes.Argv) == 0 {
		t.Errorf("crash.json tells of %+v with the notes %+v", b.Crash, b.Notes)
	}
	w.next(first) // P4
}

// A VMM that crashes leaves how it ended and what it wrote.
func TestCrashedVMMLeavesABundle(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	first := w.up(node.Builtin("victim", ""))
	p, err := w.VMM(int(first.GetPid()))
	w.must(err)
	_, err = p.Signal(syscall.SIGSEGV)
	w.must(err)
	w.ended("victim", soon)
	w.next(first)
	c := w.bundled("victim", 1)
	if c.GetSignal() != int32(syscall.SIGSEGV) || c.GetDump() {
		t.Errorf("want a segmentation fault without a dump, got %v", c)
	}
	b := crashOf(t, w.exported("victim", "1"))
	if b.Crash.Failure.Exit == nil || b.Crash.Failure.Exit.Signal != int(syscall.SIGSEGV) || b.Notes == nil || len(b.Notes.Argv) == 0 {
		t.Errorf("crash.json tells of %+v with the notes %+v", b.Crash, b.Notes)
	}

	w.ctl(0, "vm", "crashes", "victim", "1", "--prune")
	w.must(w.Kill())
	w.start()
	w.healthy("victim", 0)
	if shown := w.ctl(0, "vm", "crashes", "victim", "1").Stdout; !strings.Contains(shown, "was pruned") {
		t.Errorf("what was pruned is there again:\n%s", shown)
	}
	w.ctl(4, "vm", "crashes", "victim", "1", "--export", "-")
}

// A person's dump leaves the guest running, and not less healthy.
func TestDumpedGuestGoesOn(t *testing.T) {
	t.Parallel()
	w := begin(t, node.Options{})
	first := w.up(node.Builtin("victim", ""))
	var res struct {
		Path  string
		Bytes vm.Bytes
	}
	w.must(json.Unmarshal([]byte(w.ctl(0, "vm", "dump", "victim", "--format", "elf", "-o", "json").Stdout), &res))
	head := make([]byte, 4)
	file, err := os.Open(res.Path)
	w.must(err)
	defer file.Close()
	if _, err := io.ReadFull(file, head); err != nil || string(head) != "\x7fELF" {
		t.Errorf("the dump of %v begins with %q, %v", res.Bytes, head, err)
	}
	at, err := file.Stat()
	if err != nil || at.Mode().Perm() != 0o600 || vm.Bytes(at.Size()) != res.Bytes || res.Bytes < 64*vm.MiB {
		t.Errorf("the dump: %v, %v", at, err)
	}
	if _, err := w.Inside(w.ctx, "victim", "true"); err != nil {
		t.Errorf("the guest does not go on: %v", err)
	}
	w.same(first, "after its dump")
}
