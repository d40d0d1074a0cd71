package node

import (
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/blixard/blixard/host/qemu"
	v1 "github.com/blixard/blixard/messages/blixardv1"
)

// Builtin is a VM of the built-in guest, with words added to its command line
// and probes that are quick enough for a test.
func Builtin(name, words string) *v1.VMSpec {
	return &v1.VMSpec{
		Name: name, Boot: &v1.Boot{Image: "builtin", Cmdline: words},
		Health:  []*v1.Check{{Type: "guest-agent", Interval: durationpb.New(time.Second), Timeout: durationpb.New(time.Second), Failures: 3}},
		Restart: Impatient(5),
	}
}

// PVH writes the kernel of a few hundred bytes below the scratch folder and
// returns a VM of it: up when its mark is on the console, tens of milliseconds
// after its launch, and in need of no memory to speak of.
func (n *Node) PVH(name string) (*v1.VMSpec, error) {
	kernel := filepath.Join(n.Root, "pvh.elf")
	if _, err := os.Stat(kernel); err != nil {
		if err := os.WriteFile(kernel, qemu.PVHGuest(), 0o644); err != nil {
			return nil, err
		}
	}
	return pvh(name, kernel), nil
}

func pvh(name, kernel string) *v1.VMSpec {
	return &v1.VMSpec{
		Name: name, MemoryBytes: 8 << 20, Boot: &v1.Boot{Kernel: kernel},
		Health:  []*v1.Check{{Type: "console", Healthy: "BLIXARD-PVH-UP"}},
		Restart: Impatient(5),
	}
}

// Impatient restarts without delay, and gives up after the attempts.
func Impatient(attempts int32) *v1.Restart {
	return &v1.Restart{
		Policy: "on-failure", Delays: []*durationpb.Duration{durationpb.New(0)},
		Delay:  &v1.Delay{Initial: durationpb.New(time.Millisecond), Factor: 1, Max: durationpb.New(time.Millisecond), Jitter: 0},
		Budget: &v1.Budget{Attempts: attempts, Window: durationpb.New(10 * time.Minute)},
	}
}

// Patient waits that long before each restart.
func Patient(delay time.Duration) *v1.Restart {
	r := Impatient(5)
	r.Delays = []*durationpb.Duration{durationpb.New(delay)}
	return r
}
