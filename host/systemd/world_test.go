package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/vm"
)

const (
	patience = launchertest.Patience
	sleeps   = launchertest.Sleeps
	inside   = "BX_INSIDE" // the shim's path, where the tests run in a machine of their own
)

func TestMain(m *testing.M) {
	os.Exit(launchertest.Main(m, func(config json.RawMessage) (launchertest.Launcher, error) {
		var c Config
		if err := json.Unmarshal(config, &c); err != nil {
			return nil, err
		}
		return New(c)
	}))
}

func unitsKeepTheContract(t *testing.T) {
	launchertest.Contract(t, func(t *testing.T) *launchertest.World { return newWorld(t).World })
}

// world is a node with a launcher, whose VMMs end with the test.
type world struct {
	*launchertest.World
	config Config
	l      *Launcher // the one that is open
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: launchertest.New(t, "/srv")} // units don't see /tmp
	w.config = Config{Node: "test-" + string(vm.NewID()), BootID: w.BootID, Shim: os.Getenv(inside)}
	w.Orders = map[string]any{"Node": w.config.Node, "BootID": w.config.BootID, "Shim": w.config.Shim} // it has functions too
	w.Open = func() launchertest.Launcher {
		w.l = w.launcher()
		return w.l
	}
	w.Kept = w.units
	w.L = w.Open()
	t.Cleanup(func() {
		_ = w.L.Close()
		w.config.Reconnected = nil
		w.L = w.Open()
		w.KillAll()
		_ = w.L.Close()
		w.run("systemctl", "stop", "blixard-*.service") // the dead ones
		w.run("systemctl", "reset-failed", "blixard-*.service")
	})
	return w
}

func (w *world) launcher() *Launcher {
	w.T.Helper()
	l, err := New(w.config)
	if err != nil {
		w.T.Fatal(err)
	}
	return l
}

// run runs a command of the machine and returns what it wrote.
func (w *world) run(argv ...string) string {
	w.T.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: %v", out, err)
	}
	return string(out)
}
