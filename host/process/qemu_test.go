package process

import (
	"bufio"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/host"
)

func TestARealVMMAnswersOnItsInheritedSocketAcrossARestart(t *testing.T) {
	const qemu = "/usr/bin/qemu-system-x86_64"
	if _, err := os.Stat(qemu); err != nil {
		t.Skipf("no QEMU: %v", err)
	}
	w := newWorld(t)
	c := w.Sh(1, 1, "")
	c.Argv = []string{
		qemu, "-M", "microvm", "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "32", "-S",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-chardev", "socket,id=qmp,fd={fd:qmp},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
	}
	c.Sockets = []host.Socket{{Name: "qmp", Path: filepath.Join(w.Dir, "qmp.sock")}}
	c.MaxFile = 1 << 20
	p := w.Launch(c)
	greeted := func() net.Conn {
		conn, err := net.Dial("unix", c.Sockets[0].Path)
		if err != nil {
			t.Fatalf("%v; it says %s", err, w.Stderr(c))
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, `"QMP"`) {
			t.Fatalf("greeting %q, %v; it says %s", line, err, w.Stderr(c))
		}
		return conn
	}
	_ = greeted().Close()
	w.Restart()
	if again, err := w.l.Find(t.Context(), c.Ref, &p); err != nil || again != p {
		t.Fatalf("after the restart %+v, %v, before %+v", again, err, p)
	}
	conn := greeted()
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"execute":"qmp_capabilities"}{"execute":"quit"}`); err != nil {
		t.Fatal(err)
	}
	if e := w.Exit(p); !e.Known || e.Code != 0 || e.Signal != 0 {
		t.Errorf("exit %+v; it says %s", e, w.Stderr(c))
	}
}
