package main

import (
	"errors"
	"fmt"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// most is how many descriptors the kernel puts in one message (SCM_MAX_FD).
const most = 253

// receive takes the one message that the launcher has queued: the descriptors
// 0, 1, 2, … of the VMM, in order, then a pipe on which the launcher waits until
// the exec closes it, and the number of all as its only byte.
func receive(from int) ([]int, error) {
	var payload [2]byte
	control := make([]byte, syscall.CmsgSpace(most*4))
	n, got, flags, _, err := unix.Recvmsg(from, payload[:], control, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if n != 1 || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, errors.New("what is on standard input isn't from a launcher of this version")
	}
	messages, err := unix.ParseSocketControlMessage(control[:got])
	if err != nil {
		return nil, err
	}
	var files []int
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	if len(files) < 4 || len(files) != int(payload[0]) {
		return nil, fmt.Errorf("%d descriptors came and %d were sent", len(files), payload[0])
	}
	return files, nil
}

// place puts the descriptors at their numbers, inherited from there, and the
// launcher's above them, to be closed by the exec. All are first moved out of
// the way, since they came at the lowest free numbers.
func place(files []int, pipe int) (launcher int, err error) {
	above := len(files)
	if launcher, err = unix.FcntlInt(uintptr(pipe), unix.F_DUPFD_CLOEXEC, above); err != nil {
		return pipe, fmt.Errorf("move descriptor %d: %w", pipe, err)
	}
	for i, fd := range files {
		moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, above)
		if err != nil {
			return launcher, fmt.Errorf("move descriptor %d: %w", fd, err)
		}
		files[i] = moved
	}
	for i, fd := range files {
		if err := unix.Dup3(fd, i, 0); err != nil {
			return launcher, fmt.Errorf("put descriptor %d in its place: %w", i, err)
		}
	}
	_ = unix.CloseRange(uint(above), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11; systemd leaves none open anyway
	return launcher, nil
}

// drop gives up root and all that could bring it back. The setuid calls of the
// syscall package act on all threads.
func (o orders) drop() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid new privileges: %w", err)
	}
	if syscall.Geteuid() == 0 {
		for c := range uintptr(unix.CAP_LAST_CAP + 1) {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("give up capability %d: %w", c, err)
			}
		}
		if err := o.changeUser(); err != nil {
			return err
		}
	}
	if syscall.Getuid() != o.uid || syscall.Geteuid() != o.uid || syscall.Getgid() != o.gid || syscall.Getegid() != o.gid {
		return fmt.Errorf("it runs as %d:%d, and should as %d:%d", syscall.Getuid(), syscall.Getgid(), o.uid, o.gid)
	}
	return nil
}

func (o orders) changeUser() error {
	if err := syscall.Setgroups(o.groups); err != nil {
		return fmt.Errorf("set groups: %w", err)
	}
	if err := syscall.Setresgid(o.gid, o.gid, o.gid); err != nil {
		return fmt.Errorf("become group %d: %w", o.gid, err)
	}
	if err := syscall.Setresuid(o.uid, o.uid, o.uid); err != nil {
		return fmt.Errorf("become user %d: %w", o.uid, err)
	}
	return nil
}
