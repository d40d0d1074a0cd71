package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	v1 "github.com/blixard/blixard/messages/blixardv1"
)

// ErrNoDebian is returned where nobody built the guest.
var ErrNoDebian = errors.New("no Debian guest: set BLIXARD_DEBIAN to its disk, as `make chaos` does after `make setup-test`")

// Debian lays a disk over that of the Debian guest, which is only read, and
// returns a VM that boots from it. Its agent answers some 25 s after its launch
// under TCG on an idle machine, and twice that where cloud-init finds a seed.
func (s *Service) Debian(ctx context.Context, name string) (*v1.VMSpec, error) {
	if err := layDebian(ctx, filepath.Join(s.Root, "files"), name); err != nil {
		return nil, err
	}
	return debian(name, filepath.Join(serviceFiles, name+".qcow2")), nil
}

// layDebian makes NAME.qcow2 in the folder, and puts the guest's own disk beside it.
func layDebian(ctx context.Context, folder, name string) error {
	from, base := os.Getenv("BLIXARD_DEBIAN"), "debian.raw"
	if _, err := os.Stat(from); err != nil {
		return ErrNoDebian
	}
	if _, err := os.Stat(filepath.Join(folder, base)); err != nil {
		if err := shareSparse(ctx, from, filepath.Join(folder, base)); err != nil {
			return err
		}
	}
	make := exec.CommandContext(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", name+".qcow2")
	make.Dir = folder
	if out, err := make.CombinedOutput(); err != nil {
		return fmt.Errorf("laying a disk over the Debian guest's: %w: %s", err, out)
	}
	return os.Chmod(filepath.Join(folder, name+".qcow2"), 0o666) // its VMM has a user of its own
}

// shareSparse makes a hard link, or a copy with the same holes on another file system.
func shareSparse(ctx context.Context, from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	if out, err := exec.CommandContext(ctx, "cp", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("copying the Debian guest's disk: %w: %s", err, out)
	}
	return nil
}

// debian is patient: it waits for a boot on a busy machine, not for a probe's luck.
func debian(name, disk string) *v1.VMSpec {
	return &v1.VMSpec{
		Name: name, MemoryBytes: 256 << 20, Boot: &v1.Boot{Disk: disk},
		Health: []*v1.Check{{
			Type: "guest-agent", Interval: durationpb.New(4 * time.Second), Timeout: durationpb.New(4 * time.Second), Failures: 3,
		}},
		Start:   &v1.Start{Timeout: durationpb.New(5 * time.Minute)},
		Stop:    &v1.Stop{Timeout: durationpb.New(2 * time.Minute)},
		Restart: Impatient(20),
	}
}
