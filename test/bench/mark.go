package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// marks tells when consoles show a mark, by inotify: the same eye for our VMs
// and for those started by hand. It watches a folder, and the folders in it.
type marks struct {
	fd      int
	mark    []byte
	folders map[int32]string
	seen    map[string]bool // files whose mark was told
}

func watchMarks(root, mark string) (*marks, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	m := &marks{fd: fd, mark: []byte(mark), folders: map[int32]string{}, seen: map[string]bool{}}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if _, err := m.add(root); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *marks) close() { _ = unix.Close(m.fd) }

// forget lets a file's mark be told again, after it was emptied.
func (m *marks) forget() { clear(m.seen) }

// add watches the folder and those in it, and returns the files that have the mark already.
func (m *marks) add(folder string) ([]string, error) {
	wd, err := unix.InotifyAddWatch(m.fd, folder, unix.IN_CREATE|unix.IN_MODIFY|unix.IN_MOVED_TO)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", folder, err)
	}
	m.folders[int32(wd)] = folder
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		more, err := m.look(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// look returns the path if it is a console log that shows the mark, or what a new folder holds.
func (m *marks) look(path string) ([]string, error) {
	entry, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case entry.IsDir() && entry.Name() == "crashes":
		return nil, nil // copies
	case entry.IsDir():
		return m.add(path)
	case m.seen[path], !strings.HasPrefix(filepath.Base(path), "console-"), !entry.Mode().IsRegular():
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(b, m.mark) {
		return nil, nil //nolint:nilerr // not yet: the next event looks again
	}
	m.seen[path] = true
	return []string{path}, nil
}

// wait returns when that many more files have shown the mark.
func (m *marks) wait(ctx context.Context, count int) (time.Time, error) {
	buffer := make([]byte, 64<<10)
	for count > 0 {
		if err := m.readable(ctx); err != nil {
			return time.Time{}, fmt.Errorf("%d more marks to come: %w", count, err)
		}
		n, err := unix.Read(m.fd, buffer)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		found, err := m.events(buffer[:n])
		if err != nil {
			return time.Time{}, err
		}
		count -= found
	}
	return time.Now(), nil
}

// sight is what wait came to.
type sight struct {
	at  time.Time
	err error
}

// later is wait beside whatever brings the marks about.
func (m *marks) later(ctx context.Context, count int) <-chan sight {
	out := make(chan sight, 1)
	go func() {
		at, err := m.wait(ctx, count)
		out <- sight{at, err}
	}()
	return out
}

func (m *marks) readable(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}, 200) // often enough to see the context's end
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return ctx.Err()
}

func (m *marks) events(b []byte) (int, error) {
	count := 0
	for len(b) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(b))
		size := int(binary.NativeEndian.Uint32(b[12:]))
		name := string(bytes.TrimRight(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size], "\x00"))
		b = b[unix.SizeofInotifyEvent+size:]
		found, err := m.look(filepath.Join(m.folders[wd], name))
		if err != nil {
			return count, err
		}
		count += len(found)
	}
	return count, nil
}
