package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/blixard/blixard/host"
)

// Image is a built guest, ready to be started.
type Image struct {
	Kernel  string // path of an ELF with a PVH entry, or of a bzImage
	Initrd  string // path
	Cmdline string // words that this image wants; the VMM's driver adds what depends on the host
	Release string // of the kernel: "6.1.0-56-cloud-amd64"
	PVH     bool   // Kernel is an ELF that is entered by PVH
}

// The files of an image.
const (
	kernelFile   = "kernel"
	initrdFile   = "initrd"
	manifestFile = "image.json"
)

// format is part of the inputs: a build of another format is built again.
const format = 1

// manifest is image.json.
type manifest struct {
	Format  int    `json:"format"`
	Release string `json:"release"`
	PVH     bool   `json:"pvh"`
	Cmdline string `json:"cmdline"`
	Inputs  string `json:"inputs"` // SHA-256 over everything that the image is made of
	Kernel  file   `json:"kernel"`
	Initrd  file   `json:"initrd"`
}

// file is one built file; the size tells a torn copy without reading it.
type file struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// remedy is what a person can do about an image that isn't there.
const remedy = `run "make setup build" or install the package linux-image-cloud-amd64, then start the daemon again`

// Resolve returns the image in the folder. The failure is host.Gone when none
// was built there and host.Broken when it isn't whole; both say what to do. It
// reads one small file, so it may be called for each launch.
func Resolve(dir string) (Image, error) {
	m, err := readManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, host.Fail(host.Gone, "find the built-in guest", fmt.Errorf("there is no image in %s; %s", dir, remedy))
	}
	if err != nil {
		return Image{}, host.Fail(host.Broken, "find the built-in guest", fmt.Errorf("%w; %s", err, remedy))
	}
	for name, want := range map[string]file{kernelFile: m.Kernel, initrdFile: m.Initrd} {
		path := filepath.Join(dir, name)
		got, err := os.Stat(path)
		if err != nil {
			return Image{}, host.Fail(host.Broken, "find the built-in guest", fmt.Errorf("%w; %s", err, remedy))
		}
		if got.Size() != want.Size {
			return Image{}, host.Fail(host.Broken, "find the built-in guest",
				fmt.Errorf("%s has %d bytes, not %d; %s", path, got.Size(), want.Size, remedy))
		}
	}
	return m.image(dir), nil
}

func (m manifest) image(dir string) Image {
	return Image{
		Kernel:  filepath.Join(dir, kernelFile),
		Initrd:  filepath.Join(dir, initrdFile),
		Cmdline: m.Cmdline,
		Release: m.Release,
		PVH:     m.PVH,
	}
}

func readManifest(dir string) (manifest, error) {
	path := filepath.Join(dir, manifestFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return manifest{}, fmt.Errorf("reading %s: %w", path, err)
	}
	var m manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return manifest{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if m.Format != format {
		return manifest{}, fmt.Errorf("reading %s: format %d, this build wants %d", path, m.Format, format)
	}
	return m, nil
}
