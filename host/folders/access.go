package folders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// need is a file that the VMM must be able to open.
type need struct {
	path string
	mode uint32 // unix.R_OK, W_OK, X_OK
}

// needs are the files that the launch will open.
func needs(at host.Paths, s vm.Spec) []need {
	out := []need{{at.Run, unix.X_OK}, {at.Folder, unix.X_OK}}
	for _, path := range []string{s.Boot.Kernel, s.Boot.Initrd} {
		out = append(out, need{path, unix.R_OK})
	}
	out = append(out, need{s.Boot.Disk, unix.R_OK | unix.W_OK})
	if !s.Seed.None() {
		out = append(out, need{at.Seed(), unix.R_OK})
	}
	for _, d := range s.Disks {
		switch {
		case d.Path == "":
			out = append(out, need{at.Disk(d.Name), unix.R_OK | unix.W_OK})
		case d.ReadOnly:
			out = append(out, need{d.Path, unix.R_OK})
		default:
			out = append(out, need{d.Path, unix.R_OK | unix.W_OK})
		}
	}
	return out
}

// admitted asks the kernel, as the VMM's user, for every file that the launch
// will open: QEMU's own "permission denied" names neither the folder that is
// in the way nor the user.
func admitted(needs []need, uid, gid int) error {
	return asUser(uid, gid, func() error {
		for _, n := range needs {
			if n.path == "" {
				continue
			}
			if err := reachable(n, uid); err != nil {
				return host.Fail(host.Broken, "let the VMM open "+n.path, err)
			}
		}
		return nil
	})
}

// asUser runs check with the file-system rights of that user, in a thread that
// ends with it: rights are the thread's, and no other code may ever get these.
func asUser(uid, gid int, check func() error) error {
	if os.Geteuid() != 0 || uid == 0 {
		return check()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			none := uint32(0)
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETGROUPS, 0, uintptr(unsafe.Pointer(&none)), 0); e != 0 {
				return host.Fail(host.Denied, "drop groups to check access", e)
			}
			for _, call := range [][2]uintptr{{syscall.SYS_SETFSGID, uintptr(gid)}, {syscall.SYS_SETFSUID, uintptr(uid)}} {
				// Both return the id of before, and an id that is none leaves
				// everything as it is: the second call tells what is set now.
				syscall.RawSyscall(call[0], call[1], 0, 0)
				now, _, _ := syscall.RawSyscall(call[0], ^uintptr(0), 0, 0)
				if now != call[1] {
					return host.Fail(host.Denied, fmt.Sprintf("become user %d to check access", uid), syscall.EPERM)
				}
			}
			return check()
		}()
	}()
	return <-done
}

// reachable names the first part of the path that keeps the user out.
func reachable(n need, uid int) error {
	err := access(n.path, n.mode)
	if err == nil {
		return nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	var above []string
	for dir := filepath.Dir(n.path); ; dir = filepath.Dir(dir) {
		above = append(above, dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for i := len(above) - 1; i >= 0; i-- {
		if access(above[i], unix.X_OK) != nil {
			return refused(above[i], "search permission (x)", uid)
		}
	}
	lacks := "read permission (r)"
	switch {
	case n.mode == unix.X_OK:
		lacks = "search permission (x)"
	case access(n.path, n.mode&unix.R_OK) == nil:
		lacks = "write permission (w)"
	}
	return refused(n.path, lacks, uid)
}

func refused(path, lacks string, uid int) error {
	mode := "unknown"
	var at unix.Stat_t
	if unix.Stat(path, &at) == nil {
		mode = fmt.Sprintf("%04o, owner %d:%d", at.Mode&0o7777, at.Uid, at.Gid)
	}
	return fmt.Errorf("%s lacks %s for the VMM's user %d (mode %s)", path, lacks, uid, mode)
}

// access is faccessat2 by the thread's file-system ids; the library's fallback
// for kernels before 5.8 would ask for the process's.
func access(path string, mode uint32) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	cwd := unix.AT_FDCWD
	_, _, e := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(cwd), uintptr(unsafe.Pointer(p)),
		uintptr(mode), unix.AT_EACCESS, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}
