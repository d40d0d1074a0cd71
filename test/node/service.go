package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/host/qemu"
	"github.com/blixard/blixard/messages/blixardv1"
)

// Where the daemon's things are inside. They are where a package would put
// them, because a unit's hardening hides other places from it.
const (
	serviceState  = "/var/lib/blixard"
	serviceSocket = "/run/blixard/blixard.sock"
	servicePrefix = "/usr/local"
	serviceBinary = servicePrefix + "/bin/blixard"
	serviceFiles  = "/opt/blixard" // what tests need besides
	serviceUnit   = "blixard.service"
)

// Service is the daemon as a unit of a machine of its own, over any number of
// lives of both. It comes up with the machine.
type Service struct {
	*Machine
	*Client

	State string // the daemon's state folder, on the real disk of this machine

	options  Options
	baseline baseline
}

// NewService installs the daemon on the disk of a new machine. Nothing runs yet.
func NewService(o Options) (*Service, error) {
	if o.Binary == "" {
		o.Binary = os.Getenv("BLIXARD_BIN")
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, ErrNoBinary
	}
	binary, err := filepath.Abs(o.Binary)
	if err != nil {
		return nil, err
	}
	o.Binary = binary
	m, err := NewMachine()
	if err != nil {
		return nil, err
	}
	s := &Service{Machine: m, State: filepath.Join(m.Root, "state"), options: o}
	s.Client = s.Caller()
	if err := s.install(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Service) install() error {
	files := filepath.Join(s.Root, "files")
	if err := errors.Join(os.Mkdir(s.State, 0o711), os.Mkdir(files, 0o755), shareImages(filepath.Join(s.State, "images"))); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(files, "pvh.elf"), qemu.PVHGuest(), 0o644); err != nil {
		return err
	}
	s.bind(s.State, serviceState)
	s.bind(files, serviceFiles)
	return s.unpack()
}

// unpack installs the service as `make install` does, and enables it.
func (s *Service) unpack() error {
	from, err := packaged()
	if err != nil {
		return err
	}
	upper := filepath.Join(s.Disk, "upper")
	install := exec.Command(filepath.Join(from, "install"), "install", upper, servicePrefix) //nolint:noctx // it copies a few files
	install.Env = append(os.Environ(), "BIN="+filepath.Dir(s.options.Binary))
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("installing the service: %w: %s", err, out)
	}
	if out, err := exec.Command("systemctl", "--root="+upper, "enable", serviceUnit).CombinedOutput(); err != nil { //nolint:noctx // it only makes links
		return fmt.Errorf("enabling the service: %w: %s", err, out)
	}
	config, err := os.ReadFile(filepath.Join(upper, "etc/blixard/blixard.yaml"))
	if err != nil {
		return err
	}
	if err := s.write("/etc/blixard/blixard.yaml", string(config)+orElse(s.options.Config, Roomy), 0o644); err != nil {
		return err
	}
	return s.write("/etc/systemd/system/"+serviceUnit+".d/test.conf", s.overrides(), 0o644)
}

// packaged is the folder of what is installed, and of the script that does it.
func packaged() (string, error) {
	at, err := os.Getwd()
	for ; err == nil && at != "/"; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return filepath.Join(at, "cmd/blixard/install"), nil
		}
	}
	return "", errors.Join(errors.New("the package's files are not found: no go.mod above this folder"), err)
}

// overrides is what a test has otherwise than the package.
func (s *Service) overrides() string {
	command := append([]string{
		serviceBinary, "daemon", "--config", "/etc/blixard/blixard.yaml",
		"--launcher", orElse(s.options.Launcher, "systemd"), "--accel", "tcg", "--log-format", "json",
	}, s.options.Args...)
	var env strings.Builder
	for _, one := range s.options.Env {
		fmt.Fprintf(&env, "Environment=%s\n", strconv.Quote(one))
	}
	return "[Service]\nExecStart=\nExecStart=" + strings.Join(command, " ") + "\nRestartSec=100ms\nLogRateLimitIntervalSec=0\n" + env.String()
}

// Boot switches the machine on and returns when the daemon answers.
func (s *Service) Boot(ctx context.Context) error {
	if err := s.Machine.Boot(ctx); err != nil {
		return err
	}
	return s.arrive(ctx)
}

// Reboot is the machine's, until the daemon answers again.
func (s *Service) Reboot(ctx context.Context) error {
	if err := s.Machine.Reboot(ctx); err != nil {
		return err
	}
	return s.arrive(ctx)
}

func (s *Service) arrive(ctx context.Context) (err error) {
	s.HangUp()
	if err := s.Ready(ctx); err != nil {
		return err
	}
	if s.baseline.links == nil { // the first boot, without any VM
		s.baseline, err = s.look(ctx)
	}
	return err
}

// PowerCut is the machine's.
func (s *Service) PowerCut() error {
	defer s.HangUp()
	return s.Machine.PowerCut()
}

// Ready returns when the daemon answers.
func (s *Service) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(startPause)
	defer tick.Stop()
	for {
		_, err := s.Version(ctx, connect.NewRequest(&blixardv1.VersionRequest{}))
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the daemon does not answer: %w", err)
		case <-s.power.done:
			return errors.New("the machine ended while the daemon was awaited")
		case <-tick.C:
		}
	}
}

// Restart is `systemctl restart` of the daemon, until it answers again.
func (s *Service) Restart(ctx context.Context) error {
	defer s.HangUp()
	if _, err := s.Run(ctx, "systemctl", "restart", serviceUnit); err != nil {
		return err
	}
	s.HangUp()
	return s.Ready(ctx)
}

// Kill ends the daemon with SIGKILL, which systemd answers by another one, and
// returns when that answers.
func (s *Service) Kill(ctx context.Context) error {
	if err := s.Strike(ctx); err != nil {
		return err
	}
	return s.Ready(ctx)
}

// Strike is Kill without the wait for the next daemon.
func (s *Service) Strike(ctx context.Context) error {
	defer s.HangUp()
	tick := time.NewTicker(10 * time.Millisecond) // a tenth of the unit's RestartSec
	defer tick.Stop()
	for {
		for _, p := range s.Processes(serviceBinary + "\x00daemon") {
			return p.Kill()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no daemon runs: %w", ctx.Err())
		case <-tick.C: // it is about to be started again
		}
	}
}

// CLI runs blixard inside.
func (s *Service) CLI(ctx context.Context, args ...string) (string, error) {
	return s.Run(ctx, append([]string{"blixard"}, args...)...)
}

// Caller is another client of the daemon, with connections of its own.
func (s *Service) Caller() *Client {
	return newClient(func() string { return s.inside(serviceSocket) })
}

// PVH is a VM of the kernel of a few hundred bytes; see Node.PVH.
func (s *Service) PVH(name string) *blixardv1.VMSpec { return pvh(name, serviceFiles+"/pvh.elf") }
