package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/blixard/blixard/host"
)

// BuildOptions are what an image is made of.
type BuildOptions struct {
	Kernel  string // path of a bzImage or of an ELF kernel
	Modules string // its folder below lib/modules; the last element is the release
	Init    string // path of the static init program; see FindInit
	Out     string // folder that takes the image; it is made
}

// Build makes the image unless Out has one of the same inputs, and returns it.
// Repeating it is safe; a cut in the middle leaves the old image or one that
// Resolve refuses. Failures are host.Broken.
func Build(ctx context.Context, o BuildOptions) (Image, error) {
	img, err := build(ctx, o)
	if err != nil {
		return Image{}, host.Fail(host.Broken, "build the built-in guest", err)
	}
	return img, nil
}

func build(ctx context.Context, o BuildOptions) (Image, error) {
	in, err := readInputs(o)
	if err != nil {
		return Image{}, err
	}
	if old, err := Resolve(o.Out); err == nil {
		if m, err := readManifest(o.Out); err == nil && m.Inputs == in.sum() {
			return old, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return Image{}, err
	}
	kernel, pvh := bootable(in.kernel)
	initrd, err := initramfs(in.program, in.modules)
	if err != nil {
		return Image{}, err
	}
	m := manifest{
		Format: format, Release: filepath.Base(o.Modules), PVH: pvh, Cmdline: cmdline, Inputs: in.sum(),
		Kernel: described(kernel), Initrd: described(initrd),
	}
	if err := ctx.Err(); err != nil {
		return Image{}, err
	}
	return m.image(o.Out), m.write(o.Out, kernel, initrd)
}

// bootable returns the ELF inside of the kernel where PVH can enter it, else
// the kernel as it is: slower to boot, and still right.
func bootable(kernel []byte) (out []byte, pvh bool) {
	if unpacked, err := vmlinux(kernel); err == nil && hasPVH(unpacked) {
		return unpacked, true
	}
	return kernel, false
}

// inputs is everything that decides the bytes of an image.
type inputs struct {
	kernel, program []byte
	modules         []module
}

func readInputs(o BuildOptions) (inputs, error) {
	var in inputs
	var err error
	if in.kernel, err = os.ReadFile(o.Kernel); err != nil {
		return in, fmt.Errorf("reading the kernel: %w; %s", err, remedy)
	}
	if len(in.kernel) == 0 {
		return in, fmt.Errorf("reading the kernel: %s is empty; %s", o.Kernel, remedy)
	}
	if in.program, err = os.ReadFile(o.Init); err != nil {
		return in, fmt.Errorf("reading the init program: %w; %s", err, remedy)
	}
	if err := checkStatic(in.program); err != nil {
		return in, fmt.Errorf("init program %s: %w", o.Init, err)
	}
	tree, err := openModules(o.Modules)
	if err != nil {
		return in, fmt.Errorf("%w; %s", err, remedy)
	}
	in.modules, err = tree.closure()
	return in, err
}

// sum is a hash over all of it, lengths included.
func (in inputs) sum() string {
	h := sha256.New()
	part := func(label string, b []byte) {
		fmt.Fprintf(h, "%s %d\n", label, len(b))
		h.Write(b)
	}
	part(fmt.Sprintf("format %d", format), []byte(cmdline))
	part("kernel", in.kernel)
	part("init", in.program)
	for _, m := range in.modules {
		part(m.group+" "+m.name, m.content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func described(b []byte) file {
	sum := sha256.Sum256(b)
	return file{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(b))}
}

// write replaces the image: the manifest goes first and comes back last, so
// there is never one beside files that it doesn't describe.
func (m manifest) write(dir string, kernel, initrd []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the image's folder: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, manifestFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the old image: %w", err)
	}
	description, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("describing the image: %w", err)
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{{kernelFile, kernel}, {initrdFile, initrd}, {manifestFile, append(description, '\n')}} {
		if err := replace(filepath.Join(dir, f.name), f.content); err != nil {
			return fmt.Errorf("writing the image: %w", err)
		}
	}
	return nil
}

// replace writes a file beside the path, syncs it, renames it over the path and
// syncs the folder.
func replace(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()           // the first error is the one to tell
			_ = os.Remove(f.Name()) // gone already after the rename
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil { // the VMM reads it as another user
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	return errors.Join(err, d.Close())
}
