package service

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/test/node"
)

// computer is a machine that Blixard was installed on.
type computer struct {
	*node.Machine
	t   *testing.T
	ctx context.Context //nolint:containedctx // a test's, as testing.T holds one
}

// dropIn makes the watchdog's patience short enough for a test, and keeps KVM's probe out of it.
const dropIn = `[Service]
WatchdogSec=10s
ExecStart=
ExecStart=/usr/bin/blixard daemon --config /etc/blixard/blixard.yaml --accel tcg --launcher `

func newComputer(t *testing.T, launcher string) *computer {
	t.Helper()
	binary := os.Getenv("BLIXARD_BIN")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("skipped: nothing is built: set BLIXARD_BIN, as make does")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("skipped: QEMU is not installed: make setup")
	}
	m, err := node.NewMachine()
	if errors.Is(err, node.ErrNoMachine) {
		t.Skip("skipped:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Logf("the journal:\n%s", m.Journal(context.Background(), ""))
		}
		if err := m.Close(); err != nil {
			t.Errorf("ending the machine: %v", err)
		}
	})
	c := &computer{Machine: m, t: t, ctx: ctx}
	c.install(binary, launcher)
	if err := m.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// install is `make install` into the disk of the machine, while it is off.
func (c *computer) install(binary, launcher string) {
	c.t.Helper()
	disk := filepath.Join(c.Disk, "upper")
	cmd := exec.CommandContext(c.ctx, "../../cmd/blixard/install/install", "install", disk, "/usr")
	cmd.Env = append(os.Environ(), "BIN="+filepath.Dir(binary))
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("install: %v: %s", err, out)
	}
	more := filepath.Join(disk, "etc/systemd/system/blixard.service.d")
	images := filepath.Join(disk, "var/lib/blixard/images")
	err := errors.Join(os.MkdirAll(more, 0o755), os.WriteFile(filepath.Join(more, "test.conf"), []byte(dropIn+launcher+"\n"), 0o644),
		os.MkdirAll(images, 0o755))
	if err == nil {
		err = os.CopyFS(images, os.DirFS(os.Getenv("BLIXARD_GUEST")))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// does runs a shell command inside and returns what it said.
func (c *computer) does(script string) string {
	c.t.Helper()
	out, err := c.Run(c.ctx, "sh", "-ec", script)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (c *computer) says(script, want string) {
	c.t.Helper()
	if got := c.does(script); got != want {
		c.t.Errorf("%s\nsays %q\nwant %q", script, got, want)
	}
}

// within repeats the command until it says that: for what systemd does by itself.
func (c *computer) within(d time.Duration, script, want string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, d)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for got := ""; ; {
		out, err := c.Run(ctx, "sh", "-c", script)
		if got = strings.TrimSpace(out); got == want {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("%s\nstill says %q (%v) after %v\nwant %q", script, got, err, d, want)
		case <-tick.C:
		}
	}
}

const (
	enable = `systemd-sysusers; systemd-tmpfiles --create blixard.conf; systemctl daemon-reload; systemctl enable --now blixard.service 2>/dev/null`
	pids   = `for one in web db; do blixard vm show $one -o json | tr -d ' \n' | sed 's/.*"pid":\([0-9]*\).*/\1/'; echo; done`
	main   = `systemctl show -P MainPID blixard.service`
	status = `systemctl show -P StatusText blixard.service`
)

func TestThePackagedServiceKeepsVMsThroughItsRestarts(t *testing.T) {
	t.Parallel()
	for launcher, whom := range map[string]string{
		"process": "main", // its VMMs are in the daemon's control group, and systemctl kill means all of it otherwise
		"systemd": "all",
	} {
		t.Run(launcher, func(t *testing.T) {
			t.Parallel()
			c := newComputer(t, launcher)
			c.says("systemd-analyze verify blixard.service blixard.socket blixard.slice 2>&1", "")
			c.does(enable)
			c.says("systemctl is-active blixard.service blixard.socket", "active\nactive")
			c.says("stat -c '%a %U %G' /run/blixard/blixard.sock /run/blixard /var/lib/blixard", "660 root blixard\n711 root root\n711 root root")
			c.within(time.Minute, status, "0 VMs, 0 up") // it tells after it is ready
			c.does("blixard vm create web --start >/dev/null && blixard vm create db --start >/dev/null && blixard vm wait web --for phase=running --timeout 90s >/dev/null && blixard vm wait db --for phase=running --timeout 90s >/dev/null")
			vmms := c.does(pids)
			if strings.Contains("\n"+vmms+"\n", "\n0\n") || len(strings.Fields(vmms)) != 2 {
				t.Fatalf("pids of two VMs: %q", vmms)
			}
			for _, one := range []string{
				"systemctl restart blixard.service",
				"systemctl stop blixard.service && systemctl start blixard.service",
				"systemctl kill -s KILL --kill-whom=" + whom + " blixard.service",
				"cp /usr/bin/blixard /usr/bin/blixard.new && mv /usr/bin/blixard.new /usr/bin/blixard && systemctl restart blixard.service",
				"systemctl stop blixard.service 2>/dev/null && blixard vm list >/dev/null", // a caller starts it: the socket is still there
				"systemctl kill -s STOP --kill-whom=main blixard.service",                  // it hangs: the watchdog ends it
			} {
				before := c.does(main)
				c.does(one)
				c.within(time.Minute, "test $("+main+") != "+before+" && "+status, "2 VMs, 2 up")
				c.does("blixard vm list >/dev/null")
				c.says(pids, vmms)
			}
			c.within(time.Minute, "systemctl is-active blixard.service", "active")
			c.refusesNobody()
			c.says(pids, vmms)
		})
	}
}

// refusesNobody calls without a pause while the daemon restarts five times.
func (c *computer) refusesNobody() {
	c.t.Helper()
	out := c.does(`
rm -f /tmp/enough
(calls=0; until [ -e /tmp/enough ]; do
	blixard vm list >/dev/null 2>>/tmp/refused || echo refused >>/tmp/refused
	calls=$((calls+1))
done; echo $calls >/tmp/calls) &
for i in 1 2 3 4 5; do systemctl restart blixard.service; done
touch /tmp/enough; wait
cat /tmp/calls /tmp/refused`)
	c.t.Logf("calls across five restarts: %s", out)
	if strings.Contains(out, "refused") {
		c.t.Errorf("a caller was refused: %s", out)
	}
}

func TestAForeignSocketIsRefusedInOneLine(t *testing.T) {
	t.Parallel()
	c := newComputer(t, "process")
	c.does(`mkdir -p /etc/systemd/system/blixard.socket.d && printf '[Socket]\nListenStream=\nListenStream=/run/other.sock\n' >/etc/systemd/system/blixard.socket.d/other.conf`)
	out, _ := c.Run(c.ctx, "sh", "-c", enable)
	c.within(30*time.Second, `journalctl -u blixard.service | grep -c -m1 'gave the socket /run/other.sock as "blixard", this daemon.s is /run/blixard/blixard.sock'`, "1")
	if t.Failed() {
		t.Log(out)
	}
}
