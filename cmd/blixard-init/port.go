package main

import (
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const agentPort = "org.qemu.guest_agent.0"

// portWait bounds the wait for a port that the machine may not have.
const portWait = 5 * time.Second

// port is one virtio-serial port.
type port struct {
	file  *os.File
	write func(b []byte) error
}

// openPort waits for the port of that name, by the kernel's own notices, and
// opens it.
func openPort(name string) (*port, error) {
	notices, err := listenUevents()
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(notices) }()
	for deadline := time.Now().Add(portWait); time.Now().Before(deadline); {
		if device := findPort(name); device != "" {
			f, err := os.OpenFile(device, os.O_RDWR|unix.O_NONBLOCK, 0)
			if err != nil {
				return nil, err
			}
			return newPort(f), nil
		}
		waitReadable(notices, time.Until(deadline))
	}
	return nil, errors.New("the machine has no port " + name)
}

func newPort(f *os.File) *port {
	var one sync.Mutex // an answer is never cut by another
	return &port{file: f, write: func(b []byte) error {
		one.Lock()
		defer one.Unlock()
		_, err := f.Write(b)
		return err
	}}
}

// findPort returns the device of the port, or nothing.
func findPort(name string) string {
	const class = "/sys/class/virtio-ports"
	entries, err := os.ReadDir(class)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		b, err := readFile(class + "/" + e.Name() + "/name")
		if err == nil && strings.TrimSpace(string(b)) == name {
			return "/dev/" + e.Name()
		}
	}
	return ""
}

// listenUevents opens the socket on which the kernel tells of devices. It
// is opened before the first look, so no notice is lost between the two.
func listenUevents() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// waitReadable waits for a notice and takes all there are: what they say
// doesn't matter, we look again anyhow.
func waitReadable(fd int, atMost time.Duration) {
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(atMost.Milliseconds())+1)
	buf := make([]byte, 4096)
	for {
		if n, err := unix.Read(fd, buf); n <= 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// read waits for bytes. While nobody is connected on the host's side the
// kernel answers every read at once with nothing; then we wait for its next
// notice on the port, instead of asking again and again.
func (p *port) read(buf []byte) (n int, err error) {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), buf)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			err = nil
			return false
		}
		return true
	})
	return max(n, 0), err
}
