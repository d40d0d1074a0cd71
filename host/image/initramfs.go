package image

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// applets are names under which the init program can be run as a command, so
// that the guest agent has something to execute.
var applets = []string{"bomb", "burn", "cat", "date", "eat", "echo", "env", "exit", "false", "fault", "fill", "kill", "pgrep", "sleep", "true", "uptime", "yes"}

// initramfs writes the archive: the init program, its applets, the modules and
// the list in which init finds them in loading order. There is no /dev/console
// in it: every kernel has one in its own, first archive.
func initramfs(initProgram []byte, modules []module) ([]byte, error) {
	var out bytes.Buffer
	a := archive{w: cpio.NewWriter(&out)}
	for _, dir := range []string{"dev", "proc", "sys", "bin", "modules", "tmp"} {
		a.add(dir, cpio.TypeDir|0o755, "")
	}
	a.add("init", cpio.TypeReg|0o755, string(initProgram))
	for _, name := range applets {
		a.add("bin/"+name, cpio.TypeSymlink|0o777, "/init")
	}
	var list strings.Builder
	for _, m := range modules {
		fmt.Fprintf(&list, "%s %s\n", m.group, m.name)
		a.add("modules/"+m.name+".ko", cpio.TypeReg|0o644, string(m.content))
	}
	a.add("modules/list", cpio.TypeReg|0o644, list.String())
	if a.err == nil {
		a.err = a.w.Close()
	}
	if a.err != nil {
		return nil, fmt.Errorf("writing the initramfs: %w", a.err)
	}
	return out.Bytes(), nil
}

// archive keeps the first error. The content of a symbolic link is its target. Times, owners and numbers are fixed: the same
// inputs give the same bytes.
type archive struct {
	w     *cpio.Writer
	inode int64
	err   error
}

func (a *archive) add(name string, mode cpio.FileMode, content string) {
	if a.err != nil {
		return
	}
	a.inode++
	h := &cpio.Header{Name: name, Mode: mode, Size: int64(len(content)), Links: 1, Inode: a.inode}
	if a.err = a.w.WriteHeader(h); a.err != nil || len(content) == 0 {
		return
	}
	_, a.err = a.w.Write([]byte(content))
}
