package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestInstallAndUninstallOnARunningSystem is a person's way: make install, then
// enable; and make uninstall while a VM runs.
func TestInstallAndUninstallOnARunningSystem(t *testing.T) {
	t.Parallel()
	c := newComputer(t, "systemd")
	c.does(`rm -rf /usr/bin/blixard /usr/libexec/blixard /usr/lib/systemd/system/blixard.* /etc/blixard /usr/lib/sysusers.d/blixard.conf /usr/lib/tmpfiles.d/blixard.conf`)
	c.does(`sed -i 's|/usr/bin|/usr/local/bin|' /etc/systemd/system/blixard.service.d/test.conf; systemctl daemon-reload`)
	source := filepath.Join(c.Root, "source") // of which the machine sees what is in its scratch folder
	err := errors.Join(
		os.CopyFS(filepath.Join(source, "cmd/blixard/install"), os.DirFS("../../cmd/blixard/install")),
		os.CopyFS(filepath.Join(source, "bin"), os.DirFS(filepath.Dir(os.Getenv("BLIXARD_BIN")))),
		os.MkdirAll(filepath.Join(source, "docs"), 0o755))
	if err == nil {
		var reference []byte
		if reference, err = os.ReadFile("../../docs/configuration.md"); err == nil {
			err = os.WriteFile(filepath.Join(source, "docs/configuration.md"), reference, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	install := source + "/cmd/blixard/install/install"
	if said := c.does(install + " install '' /usr/local"); !strings.Contains(said, "systemctl enable --now blixard") {
		t.Errorf("a person isn't told what comes next: %s", said)
	}
	c.says("getent group blixard >/dev/null && stat -c '%a' /run/blixard /var/lib/blixard", "711\n711")
	c.does("systemctl enable --now blixard 2>/dev/null")
	c.says("systemctl show -P ExecMainStatus blixard; systemctl is-active blixard", "0\nactive")
	c.says("man -w blixard blixard-vm-create blixard.spec | wc -l", "3")
	c.does("blixard vm create web --start >/dev/null && blixard vm wait web --for phase=running --timeout 90s >/dev/null")
	vmm := c.does(`systemctl show -P MainPID blixard-web.service`)

	c.does(install + " uninstall '' /usr/local")
	c.within(30*time.Second, "systemctl is-active blixard.service blixard.socket", "inactive\ninactive")
	c.says("systemctl is-active blixard-web.service; systemctl show -P MainPID blixard-web.service", "active\n"+vmm)
	c.says("find /usr/local /etc/blixard -name '*blixard*' -type f 2>/dev/null || true", "")

	c.does(install + " install '' /usr/local && systemctl enable --now blixard 2>/dev/null")
	c.within(30*time.Second, status, "1 VM, 1 up")
	c.says(`systemctl show -P MainPID blixard-web.service`, vmm)
}
