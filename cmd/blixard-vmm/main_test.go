package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOrders(t *testing.T) {
	for line, want := range map[string]string{
		"-uid 7 -gid 8 -- /bin/x -a -b":                           "{7 8 [] / [/bin/x -a -b]}",
		"-uid 7 -gid 8 -groups 9,10 -dir /run/x -- /bin/x -uid 0": "{7 8 [9 10] /run/x [/bin/x -uid 0]}",
		"-uid 0 -gid 8 -- /bin/x":                                 "unprivileged",
		"-uid 7 -- /bin/x":                                        "unprivileged",
		"-uid 7 -gid -1 -- /bin/x":                                "unprivileged",
		"-uid 7 -gid 8 -- x":                                      "absolute path",
		"-uid 7 -gid 8":                                           "absolute path",
		"-uid 7 -gid 8 -groups x -- /bin/x":                       "no number",
		"-uid 7 -gid 8 -groups -3 -- /bin/x":                      "no number",
	} {
		o, err := parse(strings.Fields(line))
		got := fmt.Sprint(o)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || err != nil == strings.HasPrefix(want, "{") {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// queue is a socket with a message of that payload and as many descriptors.
func queue(t *testing.T, payload []byte, files ...int) int {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ends[1]) })
	if payload != nil {
		if err := unix.Sendmsg(ends[0], payload, unix.UnixRights(files...), nil, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Close(ends[0]); err != nil { // the launcher has died
		t.Fatal(err)
	}
	return ends[1]
}

func TestWhatALauncherQueuedIsTaken(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	many := slices.Repeat([]int{pipe[0]}, most)
	for story, c := range map[string]struct {
		from int
		n    int // -1: an error
	}{
		"the fewest":            {queue(t, []byte{4}, pipe[0], pipe[1], pipe[1], pipe[0]), 4},
		"the most":              {queue(t, []byte{most}, many...), most},
		"nothing was queued":    {queue(t, nil), -1},
		"too few":               {queue(t, []byte{3}, pipe[0], pipe[1], pipe[0]), -1},
		"more than it says":     {queue(t, []byte{3}, many[:4]...), -1},
		"fewer than it says":    {queue(t, []byte{4}, many[:3]...), -1},
		"none":                  {queue(t, []byte{3}), -1},
		"of another version":    {queue(t, []byte("v2"), many[:3]...), -1},
		"much of another":       {queue(t, make([]byte, 4096), many[:3]...), -1},
		"an empty message":      {queue(t, []byte{}, many[:3]...), -1},
		"standard input's file": {pipe[0], -1},
	} {
		files, err := receive(c.from)
		if (err != nil) != (c.n < 0) || err == nil && len(files) != c.n {
			t.Errorf("%s: %d descriptors, %v", story, len(files), err)
		}
		for _, fd := range files {
			_ = unix.Close(fd)
		}
	}
}

// TestAVMMInherits runs the whole of it, where we may become another user.
func TestAVMMInherits(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may become another user")
	}
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	shim := filepath.Join(dir, "shim")
	build := exec.Command("go", "build", "-o", shim, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, told := shimmed(t, shim, "/bin/sh", "-c",
		`id -u; id -G; readlink /proc/self/fd/0; ls /proc/self/fd | wc -l; readlink /proc/$$/fd/22; echo "$KEPT$NOTIFY_SOCKET"; grep -E "CapBnd|NoNew" /proc/self/status`)
	for _, want := range []string{"2010000001\n2010000001 4711\n/dev/null\n24\npipe:", "\nkept\n", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(got, want) {
			t.Errorf("it doesn't say %q: %s", want, got)
		}
	}
	if told != "\x06" {
		t.Errorf("the launcher was told %q", told)
	}
	if _, told = shimmed(t, shim, "/usr/bin/no-such-vmm"); told != "\x06start /usr/bin/no-such-vmm: no such file or directory" {
		t.Errorf("the launcher was told %q", told)
	}
}

// shimmed runs a program by the shim, and returns what it wrote and what the
// launcher was told.
func shimmed(t *testing.T, shim string, argv ...string) (wrote, told string) {
	t.Helper()
	var pipes [2][2]int
	for i := range pipes {
		if err := unix.Pipe2(pipes[i][:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	null, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	files := append([]int{null}, slices.Repeat([]int{pipes[0][1]}, 22)...) // more than the runtime's own descriptors
	files = append(files, pipes[1][1])
	stdin := os.NewFile(uintptr(queue(t, []byte{byte(len(files))}, files...)), "queue")
	run := exec.Command(shim, append([]string{"-uid", "2010000001", "-gid", "2010000001", "-groups", "4711", "--"}, argv...)...)
	run.Stdin, run.Env = stdin, []string{"PATH=/usr/bin:/bin", "KEPT=kept", "NOTIFY_SOCKET=/run/x"}
	_ = run.Run() // what it wrote tells
	var texts [2]string
	for i, pipe := range pipes {
		if err := unix.Close(pipe[1]); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(os.NewFile(uintptr(pipe[0]), "pipe"))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	return texts[0], texts[1]
}
