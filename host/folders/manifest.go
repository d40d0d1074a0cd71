package folders

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

const (
	manifestName   = "manifest.json"
	manifestFormat = 1
	maxManifest    = 16 << 20 // a spec is bounded far below, see the gateway's limit
)

// Manifest is the identity of the VM that a folder belongs to: enough to prove
// it without the store, and to rebuild the store from. The incarnation is not
// in it: the VMM's tags, its log's name and the run folder carry that, and a
// restart needn't wait for two syncs.
type Manifest struct {
	Format int     `json:"format"`
	ID     vm.ID   `json:"id"`
	Slot   uint32  `json:"slot"`
	Spec   vm.Spec `json:"spec"`
}

// ReadManifest reads one manifest; fs.ErrNotExist where there is none.
func ReadManifest(path string) (Manifest, error) {
	file, err := os.Open(path)
	if err != nil {
		return Manifest{}, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxManifest))
	if err != nil {
		return Manifest{}, err
	}
	return parseManifest(b)
}

func parseManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	if m.Format < 1 || m.Format > manifestFormat || m.ID == "" {
		return Manifest{}, fmt.Errorf("manifest of format %d and VM %q, this version knows format %d", m.Format, m.ID, manifestFormat)
	}
	return m, nil
}

// claim writes the manifest, unless the folder is another VM's.
func claim(place *os.Root, at host.Paths, r vm.Record) error {
	doing := "claim " + at.Folder
	b, err := json.MarshalIndent(Manifest{Format: manifestFormat, ID: r.ID, Slot: r.Slot, Spec: r.Spec}, "", "  ")
	if err != nil {
		return host.Fail(host.Broken, doing, err)
	}
	b = append(b, '\n')
	old, err := place.ReadFile(manifestName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := unclaimed(place, r.ID); err != nil {
			return host.Fail(host.Broken, doing, err)
		}
	case err != nil:
		return fail(doing, at.Folder, err)
	case bytes.Equal(b, old):
		return nil
	default:
		m, err := parseManifest(old)
		if err != nil {
			return host.Fail(host.Broken, doing, err)
		}
		if m.ID != r.ID {
			return host.Fail(host.Broken, doing, foreign(m, r.ID))
		}
	}
	if err := writeWhole(place, manifestName, b); err != nil {
		return fail("write "+at.Manifest, at.Folder, err)
	}
	return nil
}

// unclaimed refuses a folder that holds disks but doesn't say whose they are, or
// the evidence of another VM.
func unclaimed(place *os.Root, id vm.ID) error {
	entries, err := fs.ReadDir(place.FS(), "disks")
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return strange(place, id)
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("it holds %d disks and no manifest that says whose they are; move it away", len(entries))
}

// lost refuses to make disks anew that a guest has written to: an empty disk in
// the place of a full one would look like a start that went well.
// It looks before the folder is made: an empty one would be in a backup's way.
func lost(at host.Paths, r vm.Record) error {
	if r.State.LastExit == nil || r.State.LastExit.Uptime == 0 {
		return nil // it never ran
	}
	if _, err := os.Lstat(at.Manifest); !errors.Is(err, fs.ErrNotExist) {
		return nil // there, or to be met by whoever reads it
	}
	if r.Spec.Boot.Built() {
		return host.Fail(host.Broken, "use "+at.Folder, errors.New("it is gone, with the volumes that its runner kept there: restore it from a backup, or delete the VM and create it anew"))
	}
	for _, d := range r.Spec.Disks {
		if d.Path == "" {
			return host.Fail(host.Broken, "use "+at.Folder, fmt.Errorf("it is gone, with disk %s that its guest had: restore it from a backup, or delete the VM and create it anew", d.Name))
		}
	}
	return nil
}

func foreign(m Manifest, id vm.ID) error {
	return fmt.Errorf("it belongs to VM %s (%s), not to %s", m.ID, m.Spec.Name, id)
}

// writeWhole leaves the old file or the new one after a power cut, never a part.
func writeWhole(place *os.Root, name string, b []byte) error {
	temp := name + ".new"
	file, err := place.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, place.Remove(temp))
	}
	if err := place.Rename(temp, name); err != nil {
		return err
	}
	return syncRoot(place)
}
