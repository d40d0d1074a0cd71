package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// wanted are the modules of the guest by the group in which its init loads
// them: first what the guest agent needs, so that it answers early.
var wanted = []struct {
	group    string
	names    []string
	required bool
}{
	{"agent", []string{"virtio_mmio", "virtio_console"}, true},
	{"pci", []string{"virtio_pci"}, false}, // loaded before the agent too, where there is a PCI bus
	{"rest", []string{"virtio_net", "virtio_blk", "virtio_balloon", "virtio_rng", "pvpanic_mmio", "button"}, false},
}

// module is one kernel module, unpacked and without its signature.
type module struct {
	group   string
	name    string // with underscores, as the kernel says it
	content []byte
}

// moduleTree is a /lib/modules/REL.
type moduleTree struct {
	files   map[string]string // path by name
	builtin map[string]bool
}

// openModules lists a tree. It reads the dependencies from the modules
// themselves and not from modules.dep, because that is made by depmod when the
// package is installed: a package that is only unpacked has none.
func openModules(dir string) (moduleTree, error) {
	t := moduleTree{files: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := moduleName(path); ok && !d.IsDir() {
			t.files[name] = path
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("listing kernel modules: %w", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, fmt.Errorf("listing built-in modules: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := moduleName(strings.TrimSpace(line)); ok {
			t.builtin[name] = true
		}
	}
	return t, nil
}

// moduleName makes virtio_rng of drivers/char/hw_random/virtio-rng.ko.xz.
func moduleName(path string) (string, bool) {
	base := filepath.Base(path)
	for _, suffix := range []string{".xz", ".zst", ".gz"} {
		base = strings.TrimSuffix(base, suffix)
	}
	name, ok := strings.CutSuffix(base, ".ko")
	return strings.ReplaceAll(name, "-", "_"), ok && name != ""
}

// closure returns the wanted modules and all that they depend on, each after
// what it needs, once.
func (t moduleTree) closure() ([]module, error) {
	var out []module
	visited := map[string]bool{}
	for _, w := range wanted {
		for _, name := range w.names {
			if !w.required && t.files[name] == "" {
				continue
			}
			more, err := t.visit(w.group, name, visited)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		}
	}
	return out, nil
}

func (t moduleTree) visit(group, name string, visited map[string]bool) ([]module, error) {
	if visited[name] || t.builtin[name] {
		return nil, nil
	}
	visited[name] = true // before its needs: a cycle ends here
	path, ok := t.files[name]
	if !ok {
		return nil, fmt.Errorf("kernel module %s is not in the package", name)
	}
	content, needs, err := readModule(path)
	if err != nil {
		return nil, fmt.Errorf("kernel module %s: %w", path, err)
	}
	var out []module
	for _, need := range needs {
		more, err := t.visit(group, need, visited)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return append(out, module{group: group, name: name, content: content}), nil
}

// readModule returns a module, unpacked and unsigned, and the names of those
// that it needs.
func readModule(path string) (content []byte, needs []string, err error) {
	packed, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	content, err = unpack(packed)
	if err != nil {
		return nil, nil, fmt.Errorf("unpacking: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil, errors.New("has no .modinfo")
	}
	modinfo, err := section.Data()
	if err != nil {
		return nil, nil, fmt.Errorf("reading .modinfo: %w", err)
	}
	for entry := range strings.SplitSeq(string(modinfo), "\x00") {
		list, ok := strings.CutPrefix(entry, "depends=")
		if !ok || list == "" {
			continue
		}
		for need := range strings.SplitSeq(list, ",") {
			needs = append(needs, strings.ReplaceAll(need, "-", "_"))
		}
	}
	return unsigned(content), needs, nil
}

// signatureEnd closes a signed module; before it stand the signature and a
// 12-byte description that ends with the signature's length, big-endian.
const signatureEnd = "~Module signature appended~\n"

// unsigned cuts the signature off. The guest has no keys loaded to check it
// with, and to hash every module under TCG costs boot time.
func unsigned(b []byte) []byte {
	body, ok := bytes.CutSuffix(b, []byte(signatureEnd))
	if !ok || len(body) < 12 {
		return b
	}
	size := int(body[len(body)-4])<<24 | int(body[len(body)-3])<<16 | int(body[len(body)-2])<<8 | int(body[len(body)-1])
	if size < 0 || size+12 > len(body) {
		return b
	}
	return body[:len(body)-12-size]
}
