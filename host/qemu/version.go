package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/blixard/blixard/host"
)

// The oldest QEMU that knows every option of Args: -action came with 6.0, the
// switches of microvm before that; 6.2 is the oldest that a distribution still
// carries. 7.2 is what the tests run on.
const (
	oldestMajor = 6
	oldestMinor = 2
)

var versionPattern = regexp.MustCompile(`version (\d+)\.(\d+)`)

// Version returns what the binary calls itself ("7.2"), or a host.Broken
// sentence: missing, not runnable, too old, or built without a machine that we need.
func Version(binary string) (string, error) {
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) || binary == "" {
		return "", refuse("QEMU is not installed: %q does not exist; install qemu-system-x86", binary)
	}
	text, err := run(binary, "--version")
	if err != nil {
		return "", host.Fail(host.Broken, "ask QEMU for its version", err)
	}
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return "", refuse("%s does not tell a version of QEMU", binary)
	}
	major, _ := strconv.Atoi(m[1]) // digits, or out of range and then refused or new enough
	minor, _ := strconv.Atoi(m[2])
	version := m[1] + "." + m[2]
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return "", refuse("QEMU %s is too old: at least %d.%d is needed", version, oldestMajor, oldestMinor)
	}
	machines, err := run(binary, "-M", "help")
	if err != nil {
		return "", host.Fail(host.Broken, "ask QEMU for its machines", err)
	}
	for _, machine := range []string{"\nmicrovm ", "\nq35 "} {
		if !strings.Contains(machines, machine) {
			return "", refuse("%s was built without the machine %s", binary, strings.TrimSpace(machine))
		}
	}
	return version, nil
}

func run(binary string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, binary, args...)
	command.WaitDelay = time.Second
	// A wrapper script may have children: they go with it.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %v", binary, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// versionCheck remembers that a binary is good, until its file changes. What
// was bad is asked again: somebody may have installed a package.
type versionCheck struct {
	mu   sync.Mutex
	good fs.FileInfo
	told string
}

func (v *versionCheck) ok(binary string) error {
	_, err := v.of(binary)
	return err
}

func (v *versionCheck) of(binary string) (string, error) {
	info, err := os.Stat(binary)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil && v.good != nil && os.SameFile(info, v.good) && info.ModTime().Equal(v.good.ModTime()) {
		return v.told, nil
	}
	version, err := Version(binary)
	if err != nil {
		return "", err
	}
	v.good, v.told = info, version
	return version, nil
}
