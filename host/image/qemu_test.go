package image_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/blixard/blixard/host/image"
)

// bootTime bounds one boot on a machine that is busy with other tests: two
// seconds of a core, which may be long in coming.
const bootTime = 2 * time.Minute

// scratch holds the image of this run.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "bx"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(scratch) // what is left there harms nobody
	os.Exit(code)
}

// built is the image that all tests here boot; it is made once.
var built = sync.OnceValues(func() (image.Image, error) {
	kernel, err := image.FindKernel(kernelRoots()...)
	if err != nil {
		return image.Image{}, err
	}
	dir := scratch
	program := filepath.Join(dir, image.InitProgram)
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/blixard/blixard/cmd/blixard-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return image.Image{}, fmt.Errorf("building the init program: %w: %s", err, out)
	}
	return image.Build(context.Background(), image.BuildOptions{
		Kernel: kernel.Path, Modules: kernel.Modules, Init: program, Out: filepath.Join(dir, "image"),
	})
})

func kernelRoots() []string {
	roots := []string{filepath.Join("..", "..", "build", "kernel"), "/"}
	if root := os.Getenv("BLIXARD_KERNEL_ROOT"); root != "" {
		roots = append([]string{root}, roots...)
	}
	return roots
}

// hostKHz is what the VMM's driver adds: without it the guest calibrates its
// clock against timers that the machine doesn't have.
func hostKHz(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		if mips, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && strings.HasPrefix(name, "bogomips") {
			return strconv.Itoa(int(mips * 500))
		}
	}
	t.Fatal("no bogomips in /proc/cpuinfo")
	return ""
}

// guest is one QEMU that this test started.
type guest struct {
	t      *testing.T
	dir    string
	pid    int
	agent  net.Conn
	lines  *bufio.Reader
	events chan event
}

// event is a QMP event.
type event struct {
	Event string         `json:"event"`
	Data  map[string]any `json:"data"`
}

// start boots the image with words added to its command line, and ends it with
// the test. Further QEMU arguments come after.
func start(t *testing.T, memory, words string, more ...string) *guest {
	t.Helper()
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skipf("SKIP: no QEMU here: %v", err)
	}
	if _, err := image.FindKernel(kernelRoots()...); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	img, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	g := &guest{t: t, dir: dir, events: make(chan event, 64)}
	agent, qmp := g.listen("agent"), g.listen("qmp")
	args := append([]string{
		"-machine", "microvm,acpi=on,pit=off,pic=off,rtc=on,x-option-roms=off", "-accel", "tcg,tb-size=32",
		"-cpu", "qemu64,vendor=GenuineIntel,+arat", "-m", memory, "-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", img.Kernel, "-initrd", img.Initrd, "-append", img.Cmdline + " tsc_early_khz=" + hostKHz(t) + " " + words,
		"-chardev", "file,id=console,path=" + g.path("console"), "-serial", "chardev:console",
		"-chardev", "socket,id=agent,path=" + g.path("agent"), "-device", "virtio-serial-device",
		"-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-qmp", "unix:" + g.path("qmp"), "-action", "shutdown=pause",
	}, more...)
	cmd := exec.Command(qemu, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	g.pid = cmd.Process.Pid
	t.Cleanup(func() { g.story(); _ = cmd.Process.Kill(); _ = cmd.Wait() })
	control := accept(t, qmp)
	go g.follow(control)
	if _, err := io.WriteString(control, `{"execute":"qmp_capabilities"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	g.agent = accept(t, agent)
	g.lines = bufio.NewReader(g.agent)
	return g
}

func (g *guest) path(name string) string { return filepath.Join(g.dir, name) }

func (g *guest) listen(name string) *net.UnixListener {
	g.t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: g.path(name), Net: "unix"})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = l.Close() })
	return l
}

func accept(t *testing.T, l *net.UnixListener) net.Conn {
	t.Helper()
	if err := l.SetDeadline(time.Now().Add(bootTime)); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// follow sends the events of QMP, until it closes.
func (g *guest) follow(qmp io.Reader) {
	defer close(g.events)
	for d := json.NewDecoder(qmp); ; {
		var e event
		if err := d.Decode(&e); err != nil {
			return
		}
		if e.Event != "" {
			g.events <- e
		}
	}
}

// waitEvent returns the next event of that name.
func (g *guest) waitEvent(name string) event {
	g.t.Helper()
	late := time.NewTimer(bootTime)
	defer late.Stop()
	for {
		select {
		case e, ok := <-g.events:
			if !ok {
				g.t.Fatalf("QEMU ended before %s", name)
			}
			if e.Event == name {
				return e
			}
		case <-late.C:
			g.t.Fatalf("no %s within %v", name, bootTime)
		}
	}
}

// send writes raw bytes to the agent.
func (g *guest) send(request string) {
	g.t.Helper()
	if _, err := io.WriteString(g.agent, request); err != nil {
		g.t.Fatal(err)
	}
}

// receive returns the agent's next line; it is an error if none comes in time.
func (g *guest) receive(within time.Duration) (string, error) {
	if err := g.agent.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := g.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

// ask sends a request and fails the test without an answer.
func (g *guest) ask(request string) string {
	g.t.Helper()
	g.send(request)
	answer, err := g.receive(bootTime)
	if err != nil {
		g.t.Fatalf("%s: %v", request, err)
	}
	return answer
}

// quiet fails the test if the agent says anything within the time.
func (g *guest) quiet(within time.Duration) {
	g.t.Helper()
	if answer, err := g.receive(within); !errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Fatalf("the agent answered %q, %v; it was to stay silent", answer, err)
	}
}

// waitConsole returns the console's text once it holds the words.
func (g *guest) waitConsole(words string) string {
	g.t.Helper()
	for deadline := time.Now().Add(bootTime); time.Now().Before(deadline); {
		if text := g.console(); strings.Contains(text, words) {
			return text
		}
		<-time.After(20 * time.Millisecond) // a file that another process writes can only be looked at again
	}
	g.t.Fatalf("no %q on the console", words)
	return ""
}

func (g *guest) console() string {
	b, err := os.ReadFile(g.path("console"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		g.t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\r\n", "\n") // the terminal's line ends
}

// story shows the console of a failed test, made harmless and bounded, and the
// time that QEMU ran: it tells a guest that hangs from one that had no CPU.
func (g *guest) story() {
	if !g.t.Failed() {
		return
	}
	text := g.console()
	g.t.Logf("console, last of %d bytes: %q", len(text), text[max(0, len(text)-2000):])
	var ran []byte
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.pid)) // the pattern is right
	for _, path := range all {
		if b, err := os.ReadFile(path); err == nil {
			ran = append(ran, b...)
		}
	}
	g.t.Logf("QEMU's threads ran and waited for a CPU, in ns: %q", ran)
}
