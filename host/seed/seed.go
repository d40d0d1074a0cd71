// Package seed makes the disk on which cloud-init finds what to do at a guest's
// first boot: its source NoCloud, a file system of that label with these files.
//
//	cidata             ISO 9660
//	  meta-data        instance-id, and the host name
//	  user-data        what a person gave, or the host name and the keys
//	  network-config   where a person gave one
package seed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kdomanski/iso9660"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// label is by what cloud-init knows the disk.
const label = "cidata"

// MaxSize bounds what a seed may hold, in bytes over all its files. Clouds allow
// user data of 16 KiB; more than this is a disk of its own, not a seed.
const MaxSize = 512 << 10

// Seed is what cloud-init finds, by the names that it knows.
type Seed struct {
	Meta    []byte // meta-data
	User    []byte // user-data
	Network []byte // network-config; empty: there is none
}

// Of says what the seed of a VM's spec comes to. It is pure: the same spec gives
// the same bytes, and another one another instance-id, by which cloud-init knows
// that it has work to do again. What no YAML can hold is refused as host.Broken.
func Of(id vm.ID, s vm.Spec) (Seed, error) {
	name := s.Seed.Hostname
	if name == "" {
		name = string(s.Name)
	}
	size := len(name) + len(s.Seed.UserData) + len(s.Seed.Network)
	for i, key := range s.Seed.SSHKeys {
		if err := text(key); err != nil {
			return Seed{}, refuse(fmt.Errorf("seed.sshKeys[%d] %w", i, err))
		}
		size += len(key)
	}
	if err := text(name); err != nil {
		return Seed{}, refuse(fmt.Errorf("seed.hostname %w", err))
	}
	if size > MaxSize {
		return Seed{}, refuse(fmt.Errorf("it has %d bytes, at most %d are allowed", size, MaxSize))
	}
	out := Seed{User: []byte(s.Seed.UserData), Network: []byte(s.Seed.Network)}
	var meta bytes.Buffer
	if s.Seed.UserData == "" {
		out.User = firstWords(name, s.Seed.SSHKeys)
	} else {
		list(&meta, "public-keys", s.Seed.SSHKeys) // user data that a person wrote is not touched
	}
	hostname := "local-hostname: " + quoted(name) + "\n"
	sum := sha256.New()
	for _, part := range [][]byte{[]byte(hostname), meta.Bytes(), out.User, out.Network} {
		fmt.Fprintf(sum, "%d\n", len(part))
		sum.Write(part)
	}
	instance := string(id) + "-" + hex.EncodeToString(sum.Sum(nil)[:8])
	out.Meta = []byte("instance-id: " + quoted(instance) + "\n" + hostname + meta.String())
	return out, nil
}

func firstWords(name string, keys []string) []byte {
	var b bytes.Buffer
	b.WriteString("#cloud-config\nhostname: " + quoted(name) + "\n")
	list(&b, "ssh_authorized_keys", keys)
	return b.Bytes()
}

func list(b *bytes.Buffer, name string, items []string) {
	if len(items) == 0 {
		return
	}
	b.WriteString(name + ":\n")
	for _, item := range items {
		b.WriteString("- " + quoted(item) + "\n")
	}
}

// quoted is a string as JSON has it, which YAML reads as that string whatever it
// is: cloud-init's reader is of YAML 1.1, where a bare yes, 0x1f or 12:30 is none,
// and writers of YAML 1.2 leave some of these bare.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("seed: marshal a string: %v", err))
	}
	return string(b)
}

// text refuses what would not be one line of text to whoever reads it.
func text(s string) error {
	switch {
	case !utf8.ValidString(s):
		return errors.New("is not UTF-8")
	case strings.TrimSpace(s) == "":
		return errors.New("is empty")
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("has a control character")
	}
	return nil
}

// Sum stands for all that the seed holds.
func (s Seed) Sum() string {
	sum := sha256.New()
	for _, part := range [][]byte{s.Meta, s.User, s.Network} {
		fmt.Fprintf(sum, "%d\n", len(part))
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// WriteDisk writes the disk, of some 40 KiB. The files go through a temporary
// folder that only we may enter.
func (s Seed) WriteDisk(to io.Writer) (err error) {
	disk, err := iso9660.NewWriter()
	if err != nil {
		return fmt.Errorf("making a seed: %w", err)
	}
	defer func() { err = errors.Join(err, disk.Cleanup()) }()
	for _, f := range []struct {
		name    string
		content []byte
	}{{"meta-data", s.Meta}, {"user-data", s.User}, {"network-config", s.Network}} {
		if len(f.content) == 0 {
			continue
		}
		if err := disk.AddFile(bytes.NewReader(f.content), f.name); err != nil {
			return fmt.Errorf("making a seed: %w", err)
		}
	}
	if err := disk.WriteTo(to, label); err != nil {
		return fmt.Errorf("making a seed: %w", err)
	}
	return nil
}

func refuse(err error) error { return host.Fail(host.Broken, "make the seed of cloud-init", err) }
