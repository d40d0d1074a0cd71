package control

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blixard/blixard/messages"
)

// conn is one connection with its peer, read once when it was accepted: who
// connects answers for what is sent, whoever gets the descriptor later.
type conn struct {
	*net.UnixConn
	peer messages.Peer
	once sync.Once
	gone func(uid int)
}

// Close closes the connection and frees its place.
func (c *conn) Close() error {
	err := c.UnixConn.Close()
	c.once.Do(func() { c.gone(c.peer.Caller.UID) })
	return err
}

// PeerOf asks the kernel who made the connection (SO_PEERCRED, SO_PEERGROUPS).
// Groups that can't be read are none: that can only take rights away.
func PeerOf(c *net.UnixConn) (messages.Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return messages.Peer{}, fail("ask who called", err)
	}
	var p messages.Peer
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			failed = err
			return
		}
		p.Caller = messages.Caller{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
		p.Groups = peerGroups(fd)
	})
	if err = errors.Join(err, failed); err != nil {
		return messages.Peer{}, fail("ask who called", err)
	}
	return p, nil
}

// peerGroups reads SO_PEERGROUPS, for which x/sys has no call. The kernel says
// ERANGE and the size it needs where the room is too small; 65536 groups are its
// most (NGROUPS_MAX).
func peerGroups(fd uintptr) []int {
	room := make([]byte, 4*64)
	for range 2 {
		size := uint32(len(room))
		_, _, errno := syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&room[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == 0:
			var groups []int
			for ; size >= 4; size -= 4 {
				groups = append(groups, int(binary.NativeEndian.Uint32(room[size-4:])))
			}
			return groups
		case errno != unix.ERANGE || size > 4*65536:
			return nil
		}
		room = make([]byte, size)
	}
	return nil
}

// withPeer is the server's ConnContext.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return messages.WithPeer(ctx, c.peer)
	}
	return ctx
}
