package seed_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/kdomanski/iso9660"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/host/seed"
	"github.com/blixard/blixard/vm"
)

func of(t *testing.T, s vm.Seed) seed.Seed {
	t.Helper()
	out, err := seed.Of("00112233445566aa", vm.Spec{Name: "web", Seed: s})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantText(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if string(got) != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestASeedIsMadeOfItsParts(t *testing.T) {
	t.Parallel()
	s := of(t, vm.Seed{SSHKeys: []string{"ssh-ed25519 AAAA me@home"}})
	wantText(t, "user-data", s.User, "#cloud-config\nhostname: \"web\"\nssh_authorized_keys:\n- \"ssh-ed25519 AAAA me@home\"\n")
	wantText(t, "meta-data", s.Meta, "instance-id: \"00112233445566aa-a537cd584bc79b5d\"\nlocal-hostname: \"web\"\n")
	if len(s.Network) > 0 {
		t.Errorf("a network nobody asked for: %s", s.Network)
	}
}

// User data that a person wrote reaches the guest byte by byte; the keys beside
// it go the other way that cloud-init has.
func TestWhatAPersonWroteIsNotTouched(t *testing.T) {
	t.Parallel()
	script := "#!/bin/sh\necho '\x01 ü' > /marker\n"
	s := of(t, vm.Seed{Hostname: "other", UserData: script, SSHKeys: []string{"ssh-rsa B b"}, Network: "version: 2\n"})
	wantText(t, "user-data", s.User, script)
	wantText(t, "network-config", s.Network, "version: 2\n")
	if want := "local-hostname: \"other\"\npublic-keys:\n- \"ssh-rsa B b\"\n"; !strings.HasSuffix(string(s.Meta), want) {
		t.Errorf("meta-data:\n%s\nwant at its end:\n%s", s.Meta, want)
	}
}

// What YAML 1.1 would read as something else, or as more than one value, stays one string.
func TestEveryTextIsQuoted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"yes":                  `"yes"`,
		"12:30":                `"12:30"`,
		"0x1f":                 `"0x1f"`,
		"~":                    `"~"`,
		"a: b #c":              `"a: b #c"`,
		`command="x\y",no-pty`: `"command=\"x\\y\",no-pty"`,
		"- x":                  `"- x"`,
		"%&*!|>@`":             "\"%\\u0026*!|\\u003e@`\"",
		"schlüssel \U0001f511": "\"schlüssel \U0001f511\"",
	} {
		s := of(t, vm.Seed{SSHKeys: []string{text}})
		wantText(t, text, s.User, "#cloud-config\nhostname: \"web\"\nssh_authorized_keys:\n- "+want+"\n")
	}
}

func TestASeedThatIsNoTextIsRefused(t *testing.T) {
	t.Parallel()
	for story, s := range map[string]vm.Seed{
		"a key of two lines":     {SSHKeys: []string{"ssh-rsa A\nruncmd: [reboot]"}},
		"an empty key":           {SSHKeys: []string{" "}},
		"a key with an escape":   {SSHKeys: []string{"ssh-rsa A \x1b[2J"}},
		"a key with U+0085":      {SSHKeys: []string{"ssh-rsa A \u0085 B"}},
		"a name that isn't text": {Hostname: "a\xffb"},
		"a name with a line end": {Hostname: "a\nb"},
		"more than fits":         {UserData: strings.Repeat("x", seed.MaxSize)},
	} {
		_, err := seed.Of("1", vm.Spec{Name: "web", Seed: s})
		if host.KindOf(err) != host.Broken {
			t.Errorf("%s: want a refusal that lasts until the spec is changed, got %v", story, err)
		}
	}
}

// Cloud-init does its work again when, and only when, it has other work to do.
func TestAnotherSeedIsToldByAnotherName(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, one := range []struct {
		story string
		id    vm.ID
		seed  vm.Seed
	}{
		{"a name", "1", vm.Seed{Hostname: "a"}},
		{"another name", "1", vm.Seed{Hostname: "b"}},
		{"a key", "1", vm.Seed{Hostname: "a", SSHKeys: []string{"k"}}},
		{"user data", "1", vm.Seed{Hostname: "a", UserData: "x"}},
		{"the same as network", "1", vm.Seed{Hostname: "a", Network: "x"}},
		{"user data and key", "1", vm.Seed{Hostname: "a", UserData: "x", SSHKeys: []string{"k"}}},
		{"another VM", "2", vm.Seed{Hostname: "a"}},
	} {
		s, err := seed.Of(one.id, vm.Spec{Name: "web", Seed: one.seed})
		if err != nil {
			t.Fatal(err)
		}
		id, _, _ := strings.Cut(string(s.Meta), "\n")
		if other := seen[id]; other != "" {
			t.Errorf("%s and %s are one instance: %s", one.story, other, id)
		}
		seen[id] = one.story
		if again, err := seed.Of(one.id, vm.Spec{Name: "web", Seed: one.seed}); err != nil || again.Sum() != s.Sum() {
			t.Errorf("%s: made again, it is another one (%v)", one.story, err)
		}
	}
}

func TestTheDiskHoldsWhatCloudInitLooksFor(t *testing.T) {
	t.Parallel()
	s := of(t, vm.Seed{UserData: strings.Repeat("0123456789abcdef", 5000), Network: "version: 2\n"})
	var disk bytes.Buffer
	if err := s.WriteDisk(&disk); err != nil {
		t.Fatal(err)
	}
	image, err := iso9660.OpenImage(bytes.NewReader(disk.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if is, err := image.Label(); err != nil || strings.TrimSpace(is) != "cidata" {
		t.Errorf("label %q, %v", is, err)
	}
	root, err := image.RootDir()
	if err != nil {
		t.Fatal(err)
	}
	files, err := root.GetChildren()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"meta-data": s.Meta, "user-data": s.User, "network-config": s.Network}
	for _, f := range files {
		b, err := io.ReadAll(f.Reader())
		if content, ok := want[f.Name()]; err != nil || !ok || !bytes.Equal(b, content) {
			t.Errorf("file %q of %d bytes (%v), not what was put in", f.Name(), len(b), err)
		}
		delete(want, f.Name())
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
}
