package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newMachine is switched on, and gone at the end of the test.
func newMachine(t *testing.T) *Machine {
	t.Helper()
	m, err := NewMachine()
	if errors.Is(err, ErrNoMachine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Errorf("ending the machine: %v", err)
		}
		for _, left := range leftOf(m.name) {
			t.Errorf("left behind: %s", left)
		}
	})
	began := time.Now()
	if err := m.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("booted in %v", time.Since(began))
	return m
}

// leftOf looks for what a machine of that name left on this one.
func leftOf(name string) []string {
	var out []string
	for _, pattern := range append(cgroupsOf(name),
		"/tmp/"+name, filepath.Join(os.TempDir(), name), "/dev/shm/"+name+"*",
		"/run/systemd/nspawn/*/*"+name+"*",
	) {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		out = append(out, found...)
	}
	for _, p := range marked(name) {
		out = append(out, fmt.Sprintf("process %d: %q", p.PID, p.Argv))
	}
	if b, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(b), name) {
		out = append(out, fmt.Sprintf("a mount (%v)", err))
	}
	return out
}

func run(t *testing.T, m *Machine, argv ...string) string {
	t.Helper()
	out, err := m.Run(t.Context(), argv...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestMachineIsAComputerOfItsOwn(t *testing.T) {
	m := newMachine(t)
	for what, argv := range map[string][]string{
		"its systemd started all":      {"systemctl", "is-system-running"},
		"a bus answers":                {"busctl", "status"},
		"logind answers":               {"systemd-inhibit", "--list"},
		"a transient unit":             {"systemd-run", "--wait", "-p", "PrivateTmp=yes", "-p", "ProtectSystem=strict", "true"},
		"a tap":                        {"ip", "tuntap", "add", "dev", "tap0", "mode", "tap"},
		"a bridge":                     {"ip", "link", "add", "br0", "type", "bridge"},
		"no service of this machine's": {"sh", "-c", "! pgrep -x 'postgres|prometheus|sshd|cron'"},
		"its own pids":                 {"sh", "-c", "test $(cat /proc/1/comm) = systemd"},
	} {
		if out, err := m.Run(t.Context(), argv...); err != nil {
			t.Errorf("%s: %v: %s", what, err, out)
		}
	}
	if _, err := os.Stat("/sys/class/net/tap0"); err == nil {
		t.Error("its tap is among this machine's links")
	}
	run(t, m, "systemctl", "restart", "dbus.service")
	run(t, m, "systemctl", "daemon-reexec")
	if out := run(t, m, "busctl", "list"); !strings.Contains(out, "org.freedesktop.systemd1") {
		t.Errorf("systemd is not on the bus after both were started anew:\n%s", out)
	}
}

func TestRebootAndPowerCutLeaveTheDiskAndNothingElse(t *testing.T) {
	m := newMachine(t)
	boots := map[string]bool{}
	write := func() {
		t.Helper()
		id, err := m.BootID()
		if err != nil || len(id) != 36 || boots[id] || id != run(t, m, "cat", "/proc/sys/kernel/random/boot_id") {
			t.Errorf("want a new boot id, got %q after %v (%v)", id, boots, err)
		}
		boots[id] = true
		run(t, m, "touch", "/var/lib/kept", filepath.Join(m.Root, "kept"), "/run/lost", "/tmp/lost")
		run(t, m, "systemd-run", "--unit=lost", "sleep", "1000")
		run(t, m, "ip", "link", "add", "lost0", "type", "bridge")
	}
	look := func(after string) {
		t.Helper()
		script := "ls /var/lib/kept " + m.Root + "/kept && ! ls /run/lost && ! ls /tmp/lost && ! systemctl is-active lost && ! ls /sys/class/net/lost0"
		if out, err := m.Run(t.Context(), "sh", "-c", script); err != nil {
			t.Errorf("after %s: %v: %s", after, err, out)
		}
	}
	write()
	began := time.Now()
	if err := m.PowerCut(); err != nil {
		t.Fatal(err)
	}
	t.Logf("a power cut took %v", time.Since(began))
	if _, err := m.Run(t.Context(), "true"); err == nil {
		t.Error("a machine without power ran a command")
	}
	if err := m.PowerCut(); err != nil {
		t.Errorf("a second power cut: %v", err)
	}
	if err := m.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("a power cut")
	write()
	began = time.Now()
	if err := m.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("a reboot took %v", time.Since(began))
	look("a reboot")
	if log := m.Journal(t.Context(), ""); strings.Count(log, "-- Boot ") < 2 && !strings.Contains(log, "lost.service") {
		t.Errorf("the journal does not reach over the boots:\n%s", log)
	}
	if err := m.PowerOff(t.Context()); err != nil || m.On() {
		t.Errorf("powering off: %v, on: %v", err, m.On())
	}
}

// With the process that made it, even a killed one, all of a machine ends but its files.
func TestMachineEndsWithItsMaker(t *testing.T) {
	if os.Getenv("BLIXARD_MAKER") != "" {
		m, err := NewMachine()
		if err == nil {
			err = m.Boot(context.Background())
		}
		fmt.Println("made", m.name, err)
		select {}
	}
	newMachine(t) // skips where there is none
	maker := exec.CommandContext(t.Context(), os.Args[0], "-test.run", t.Name()+"$")
	maker.Env = append(os.Environ(), "BLIXARD_MAKER=1")
	maker.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := maker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := maker.Start(); err != nil {
		t.Fatal(err)
	}
	var name, failed string
	if _, err := fmt.Fscan(out, new(string), &name, &failed); err != nil || failed != "<nil>" {
		t.Fatalf("no machine was made: %v, %s", err, failed)
	}
	nspawn := -1
	for _, p := range marked(name) {
		if p.Argv[0] == "systemd-nspawn" {
			nspawn = p.PID
		}
	}
	fd, err := unix.PidfdOpen(nspawn, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	_ = maker.Process.Kill()
	_ = maker.Wait() // killed
	if err := gone(fd, cutWithin); err != nil {
		t.Errorf("nspawn: %v", err)
	}
	for _, dir := range []string{filepath.Join(os.TempDir(), name), "/dev/shm/" + name} {
		for _, found := range globbed(dir + "*") {
			if err := os.RemoveAll(found); err != nil { // a mount would be busy
				t.Error(err)
			}
		}
	}
	if err := sweepCgroups(name); err != nil { // a process would hold it
		t.Error(err)
	}
	for _, left := range leftOf(name) {
		t.Errorf("left behind: %s", left)
	}
}

func globbed(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the pattern is well formed
	return found
}

// Whoever tells how far it is never waits for us: with a hundred units, nspawn
// tells far more often than a socket holds.
func TestNobodyWaitsForWhatIsToldAfterTheBoot(t *testing.T) {
	t.Parallel()
	at := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	told, err := net.ListenUnixgram("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	go drain(told)
	teller, err := net.DialUnix("unixgram", nil, at)
	if err != nil {
		t.Fatal(err)
	}
	defer teller.Close()
	if err := teller.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if _, err := teller.Write([]byte("STATUS=one more unit\n")); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}
