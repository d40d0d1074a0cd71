package systemd

import (
	"context"
	"errors"
	"os"

	sd "github.com/coreos/go-systemd/v22/dbus"

	"github.com/blixard/blixard/host"
)

// GoingDown says whether the machine is on its way down, or up again: then the
// end that our unit is asked for is the machine's, and not a person's. Where
// systemd isn't PID 1 nobody can say: false.
func GoingDown(ctx context.Context) (bool, error) {
	const doing = "ask systemd whether the machine goes down"
	if _, err := os.Stat("/run/systemd/system"); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	conn, err := sd.NewSystemdConnectionContext(ctx)
	if err != nil {
		return false, host.Fail(host.Transient, doing, err)
	}
	defer conn.Close()
	state, err := conn.SystemStateContext(ctx)
	if err != nil {
		return false, host.Fail(host.Transient, doing, err)
	}
	word, _ := state.Value.Value().(string)
	return word == "stopping", nil
}
