package vm

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of a seed. Clouds allow 16 KiB of user data, which grows by a third in
// their transport; NoCloud knows no bound of its own.
const (
	MaxCloudConfig = 64 * KiB
	MaxNetConfig   = 16 * KiB
	MaxSSHKeys     = 32
	MaxSSHKey      = 8 * KiB // RSA of 16384 bits takes 3
	MaxHostname    = 64      // bytes; Linux keeps no more
)

var (
	hostnamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)

	// keyTypes are those that OpenSSH 9 takes.
	keyTypes = []string{
		"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	}

	// cloudInitKnows is by what cloud-init tells what user data is; it drops all else with a warning in the guest.
	cloudInitKnows = []string{"#cloud-config", "#!", "#cloud-boothook", "#include", "#part-handler", "## template: jinja", "Content-Type:", "MIME-Version:"}
)

func (s Spec) checkSeed() *Refusal {
	d := s.Seed
	if d.None() {
		return nil
	}
	switch {
	case s.Boot.Image != "":
		return invalid("boot: {disk: debian.qcow2}", "seed is for cloud-init, which the built-in guest doesn't have")
	case s.Boot.Built():
		return invalid("set it in the runner's configuration", "seed is a disk that Blixard adds, and a runner has its disks built in")
	case d.Hostname != "" && (len(d.Hostname) > MaxHostname || !hostnamePattern.MatchString(d.Hostname)):
		return invalid("hostname: web-1", "seed.hostname is %q, allowed are letters, digits, inner dashes and dots, at most %d", cut(d.Hostname), MaxHostname)
	case d.UserData != "" && !slices.ContainsFunc(cloudInitKnows, func(b string) bool { return strings.HasPrefix(d.UserData, b) }):
		return invalid("begin it with #cloud-config", "seed.userData begins with %q, which cloud-init ignores", cut(d.UserData))
	}
	return firstRefusal(checkKeys("seed.sshKeys", d.SSHKeys), prose("seed.userData", d.UserData, MaxCloudConfig), prose("seed.network", d.Network, MaxNetConfig))
}

func checkKeys(f string, keys []string) *Refusal {
	if r := between("the number of "+f, len(keys), 0, MaxSSHKeys); r != nil {
		return r
	}
	for i, key := range keys {
		at := fmt.Sprintf("%s[%d]", f, i)
		if Bytes(len(key)) > MaxSSHKey {
			return invalid("copy one line of a .pub file", "%s has %d bytes, at most %d are allowed", at, len(key), int(MaxSSHKey))
		}
		if strings.Contains(key, "PRIVATE KEY") {
			return invalid("copy the line of the .pub file", "%s is a private key, which stays with its owner", at)
		}
		if r := plain(at, key); r != nil {
			return r
		}
		kind, rest, _ := strings.Cut(key, " ")
		if !slices.Contains(keyTypes, kind) || !strings.HasPrefix(strings.TrimLeft(rest, " "), "AAAA") {
			return invalid("copy the line of a .pub file, such as ssh-ed25519 AAAA… me@laptop", "%s is %q, which is no public key of OpenSSH", at, cut(key))
		}
	}
	return nil
}

// prose allows several lines, and nothing that no editor writes.
func prose(f, s string, most Bytes) *Refusal {
	strange := func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0x7f || r == utf8.RuneError
	}
	switch {
	case Bytes(len(s)) > most:
		return invalid("let cloud-init fetch the rest: #include", "%s has %s, at most %s are allowed", f, Bytes(len(s)), most)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, strange):
		return invalid("write it as UTF-8 text", "%s has control characters or broken UTF-8", f)
	}
	return nil
}
