package image_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestGuestServesUntilItIsPoweredOff is one guest with every device: boots are
// what these tests cost.
func TestGuestServesUntilItIsPoweredOff(t *testing.T) {
	t.Parallel()
	g := start(t, "128", "blixard.beat=1s", "-device", "virtio-balloon-device", "-device", "virtio-rng-device",
		"-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0",
		"-blockdev", "driver=null-co,node-name=d0,size=1048576", "-device", "virtio-blk-device,drive=d0")
	g.answers(t)
	g.runsPrograms(t)
	g.loadsEveryDriver(t)
	g.send(`{"execute":"guest-shutdown","arguments":{"mode":"reboot"}}`)
	if e := g.waitEvent("RESET"); e.Data["guest"] != true {
		t.Errorf("RESET says %v", e.Data)
	}
	if got := g.ask(`{"execute":"guest-ping"}`); got != `{"return":{}}` {
		t.Errorf("ping after the reboot: %s", got)
	}
	g.send(`{"execute":"guest-shutdown"}`)
	if e := g.waitEvent("SHUTDOWN"); e.Data["guest"] != true || e.Data["reason"] != "guest-shutdown" {
		t.Errorf("SHUTDOWN says %v", e.Data)
	}
}

func (g *guest) answers(t *testing.T) {
	t.Helper()
	if got := g.ask(`{"execute":"guest-ping","id":7}` + "\n"); got != `{"return":{},"id":7}` {
		t.Errorf("ping: %s", got)
	}
	if got := g.ask("{\"execute\":\"torn\xff" + `{"execute":"guest-sync-delimited","arguments":{"id":99}}`); got != "\xff"+`{"return":99}` {
		t.Errorf("delimited sync after a torn request: %q", got)
	}
	if got := g.ask(`{"execute":"guest-get-osinfo"}`); !strings.Contains(got, `"kernel-release":"`) || !strings.Contains(got, `"id":"blixard"`) {
		t.Errorf("osinfo: %s", got)
	}
	if got := g.ask(`{"execute":"guest-file-open"}`); !strings.Contains(got, `"CommandNotFound"`) {
		t.Errorf("a command that it doesn't have: %s", got)
	}
	g.waitConsole("blixard: ready\n")
	g.waitConsole("blixard: beat 2 up ")
}

// exec runs a program in the guest to its end.
func (g *guest) exec(arguments string) (code int, out, errs string) {
	g.t.Helper()
	var started struct {
		Return struct{ PID int } `json:"return"`
	}
	answer := g.ask(`{"execute":"guest-exec","arguments":` + arguments + `}`)
	if err := json.Unmarshal([]byte(answer), &started); err != nil || started.Return.PID == 0 {
		g.t.Fatalf("guest-exec %s: %s", arguments, answer)
	}
	for deadline := time.Now().Add(bootTime); time.Now().Before(deadline); {
		var s struct {
			Return struct {
				Exited   bool
				ExitCode int
				Signal   int
				Out      []byte `json:"out-data"`
				Err      []byte `json:"err-data"`
			} `json:"return"`
		}
		answer := g.ask(fmt.Sprintf(`{"execute":"guest-exec-status","arguments":{"pid":%d}}`, started.Return.PID))
		if err := json.Unmarshal([]byte(answer), &s); err != nil {
			g.t.Fatalf("guest-exec-status: %s", answer)
		}
		if s.Return.Exited {
			return s.Return.ExitCode - s.Return.Signal, string(s.Return.Out), string(s.Return.Err)
		}
	}
	g.t.Fatalf("guest-exec %s: no end", arguments)
	return 0, "", ""
}

func (g *guest) runsPrograms(t *testing.T) {
	t.Helper()
	input := base64.StdEncoding.EncodeToString([]byte("taken from input"))
	for _, c := range []struct {
		arguments string
		code      int
		out       string
	}{
		{`{"path":"echo","arg":["two","words"],"capture-output":true}`, 0, "two words\n"},
		{`{"path":"/init","arg":["echo","itself"],"capture-output":true}`, 0, "itself\n"},
		{`{"path":"cat","input-data":"` + input + `","capture-output":true}`, 0, "taken from input"},
		{`{"path":"env","env":["A=b"],"capture-output":true}`, 0, "A=b\n"},
		{`{"path":"echo","arg":["unheard"]}`, 0, ""},
		{`{"path":"exit","arg":["7"]}`, 7, ""},
		{`{"path":"kill","arg":["9"]}`, -9, ""},
		{`{"path":"cat","arg":["/proc/modules"],"capture-output":true}`, 0, "virtio_console"},
	} {
		if code, out, errs := g.exec(c.arguments); code != c.code || !strings.Contains(out, c.out) {
			t.Errorf("%s: code %d, out %q, err %q; want %d, %q", c.arguments, code, out, errs, c.code, c.out)
		}
	}
	if code, out, _ := g.exec(`{"path":"yes","arg":["1000000"],"capture-output":true}`); code != 0 || len(out) != 256<<10 {
		t.Errorf("a program that writes 2 MB: code %d, %d bytes kept, want 262144", code, len(out))
	}
	if got := g.ask(`{"execute":"guest-exec","arguments":{"path":"/nowhere"}}`); !strings.Contains(got, "no such file") {
		t.Errorf("a program that isn't there: %s", got)
	}
	if got := g.ask(`{"execute":"guest-exec-status","arguments":{"pid":1}}`); !strings.Contains(got, "PID 1 does not exist") {
		t.Errorf("a process that isn't ours: %s", got)
	}
}

func (g *guest) loadsEveryDriver(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(bootTime); ; {
		_, drivers, _ := g.exec(`{"path":"cat","arg":["/proc/modules"],"capture-output":true}`)
		_, devices, _ := g.exec(`{"path":"cat","arg":["/proc/partitions","/proc/net/dev","/sys/class/misc/hw_random/rng_current"],"capture-output":true}`)
		all := drivers + devices
		missing := ""
		for _, want := range []string{"virtio_net", "virtio_blk", "virtio_balloon", "virtio_rng", "vda", "eth0", "virtio_rng.0"} {
			if !strings.Contains(all, want) {
				missing = want
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s in\n%s", missing, all)
		}
	}
}

func TestGuestDiesAsAsked(t *testing.T) {
	skipRaced(t)
	for _, c := range []struct{ words, reason, console string }{
		{"blixard.fault=exit", "guest-reset", "Kernel panic - not syncing: Attempted to kill init!"},
		{"blixard.fault=crash-loop", "guest-reset", "Kernel panic"},
		{"blixard.fault=oom", "guest-reset", "Kernel panic - not syncing: System is deadlocked on memory"},
		{"blixard.fault=reboot@100ms", "guest-reset", "blixard: fault reboot"},
		{"blixard.fault=poweroff@100ms", "guest-shutdown", "blixard: fault poweroff"},
	} {
		t.Run(c.words, func(t *testing.T) {
			t.Parallel()
			g := start(t, "128", c.words, "-no-reboot")
			// By -no-reboot a reset ends it here too, as a SHUTDOWN with the reset's reason.
			if e := g.waitEvent("SHUTDOWN"); e.Data["reason"] != c.reason {
				t.Errorf("%s says %v", e.Event, e.Data)
			}
			g.waitConsole(c.console)
		})
	}
}

// TestGuestPanicIsToldByPvpanic: the driver is there before the guest panics,
// however slowly it is loaded, and then the guest resets.
func TestGuestPanicIsToldByPvpanic(t *testing.T) {
	skipRaced(t)
	t.Parallel()
	g := start(t, "128", "blixard.fault=panic", "-device", "pvpanic", "-action", "panic=none", "-no-reboot")
	g.waitEvent("GUEST_PANICKED")
	if e := g.waitEvent("SHUTDOWN"); e.Data["reason"] != "guest-reset" {
		t.Errorf("%s says %v", e.Event, e.Data)
	}
	g.waitConsole("Kernel panic - not syncing: sysrq triggered crash")
}
