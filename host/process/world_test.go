package process

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/blixard/blixard/host/launchertest"
	"github.com/blixard/blixard/vm"
)

const (
	patience = launchertest.Patience
	sleeps   = launchertest.Sleeps
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

func TestContract(t *testing.T) {
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
	w := &world{World: launchertest.New(t, "")}
	w.config = Config{Node: "test-" + string(vm.NewID()), BootID: w.BootID, Lock: filepath.Join(w.Dir, "lock")}
	w.Orders = w.config
	w.Open = func() launchertest.Launcher {
		var err error
		if w.l, err = New(w.config); err != nil {
			t.Fatal(err)
		}
		return w.l
	}
	w.L = w.Open()
	t.Cleanup(func() {
		_ = w.L.Close()
		w.config.Lock = "" // another daemon's child may hold it for a moment
		w.L = w.Open()
		w.KillAll()
		_ = w.L.Close()
	})
	return w
}
