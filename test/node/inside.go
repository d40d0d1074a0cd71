package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/blixard/blixard/messages/blixardv1"
)

// Processes returns what runs inside and names the mark in its command line.
func (m *Machine) Processes(mark string) []Process {
	space, err := os.Readlink(m.pids(m.init.PID))
	if err != nil {
		return nil // it is off
	}
	var out []Process
	for _, p := range marked(mark) {
		if at, err := os.Readlink(m.pids(p.PID)); err != nil || at != space {
			continue
		}
		if p.Inside = insidePID(p.PID); p.Inside != 0 {
			out = append(out, p)
		}
	}
	return out
}

func (m *Machine) pids(pid int) string { return fmt.Sprintf("/proc/%d/ns/pid", pid) }

// insidePID is the pid of the innermost namespace, or 0 where the process is gone.
func insidePID(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if numbers, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(numbers)
			inner, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return 0
			}
			return inner
		}
	}
	return 0
}

// VMMs returns the VMMs of the daemon, by the state folder in their command line.
func (s *Service) VMMs() []Process {
	var out []Process
	for _, p := range s.Processes(serviceState + "/") {
		if !strings.HasPrefix(filepath.Base(p.Argv[0]), "blixard") {
			out = append(out, p)
		}
	}
	return out
}

// VMM is the process of that pid, as the machine counts, proved to be a VMM of the daemon.
func (s *Service) VMM(pid int) (Process, error) {
	for _, p := range s.VMMs() {
		if p.Inside == pid {
			return p, nil
		}
	}
	return Process{}, fmt.Errorf("pid %d is no VMM of this machine", pid)
}

// baseline is what a machine holds while no VM is up.
type baseline struct {
	links, mounts []string
	goroutines    int
	fds           int
}

func (s *Service) look(ctx context.Context) (b baseline, err error) {
	if b.links, err = s.Links(ctx); err != nil {
		return b, err
	}
	b.mounts = s.mounts()
	s.HangUp() // our connections count, too
	status, err := s.NodeStatus(ctx, connect.NewRequest(&blixardv1.NodeStatusRequest{}))
	if err != nil {
		return b, err
	}
	b.goroutines, b.fds = int(status.Msg.GetGoroutines()), int(status.Msg.GetFds())
	return b, nil
}

// Growth is how many goroutines and descriptors the daemon holds more than
// before the first VM. Some are gone only a moment after the VM.
func (s *Service) Growth(ctx context.Context) (goroutines, fds int, err error) {
	now, err := s.look(ctx)
	return now.goroutines - s.baseline.goroutines, now.fds - s.baseline.fds, err
}

// Links are the names of the network links inside.
func (m *Machine) Links(ctx context.Context) ([]string, error) {
	out, err := m.Run(ctx, "ls", "/sys/class/net")
	return strings.Fields(out), err
}

func (s *Service) mounts() []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", s.init.PID))
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); strings.Contains(line, "blixard") {
			out = append(out, fields[4])
		}
	}
	return out
}

// Units are the units of VMs that hold anything. Those that ended hold a verdict
// alone; the daemon frees them some minutes later.
func (s *Service) Units(ctx context.Context) ([]string, error) {
	out, err := s.Run(ctx, "systemctl", "list-units", "--state=active,activating,deactivating,reloading", "--plain", "--no-legend", "--no-pager", "blixard-*")
	var names []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 3 && words[3] == "exited" {
			continue // a clean end's verdict, kept for a daemon that may be down, as that of a failure is
		}
		names = append(names, strings.TrimSpace(line))
	}
	return names, err
}

// Leaks says what is held although no VM exists any more (P7): processes,
// units, links, sockets, mounts and folders. What is foreign is not counted.
func (s *Service) Leaks(ctx context.Context, foreign ...string) []string {
	var out []string
	for _, p := range s.VMMs() {
		out = append(out, fmt.Sprintf("process %d: %.200s", p.Inside, strings.Join(p.Argv, " ")))
	}
	units, unitsErr := s.Units(ctx)
	for _, unit := range units {
		out = append(out, "unit "+unit)
	}
	links, linksErr := s.Links(ctx)
	for _, link := range links {
		if !slices.Contains(s.baseline.links, link) && !slices.Contains(foreign, link) {
			out = append(out, "link "+link)
		}
	}
	if err := errors.Join(unitsErr, linksErr); err != nil {
		out = append(out, fmt.Sprintf("(not all was seen: %v)", err))
	}
	for _, mount := range s.mounts() {
		if !slices.Contains(s.baseline.mounts, mount) {
			out = append(out, "mount "+mount)
		}
	}
	return append(append(out, s.heldSockets()...), s.heldFolders()...)
}

// RunFolder says whether the VM has a folder of sockets, which only one that is up needs.
func (s *Service) RunFolder(name string) bool {
	_, err := os.Stat(s.inside(filepath.Join(filepath.Dir(serviceSocket), "vm", name)))
	return err == nil
}

// heldSockets are open ones below the run folder, also those without a path any more.
func (s *Service) heldSockets() []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/unix", s.init.PID))
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 8 || !strings.Contains(fields[7], "blixard") || fields[7] == serviceSocket {
			continue
		}
		out = append(out, "open socket "+fields[7])
	}
	return out
}

func (s *Service) heldFolders() []string {
	var out []string
	run := s.inside(filepath.Dir(serviceSocket))
	for top, below := range map[string]string{run: "vm", s.State: "vms"} {
		_ = filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return nil //nolint:nilerr // removed while we looked
			case entry.Type()&fs.ModeSocket != 0 && path != s.inside(serviceSocket):
				out = append(out, "socket "+path)
			case entry.IsDir() && filepath.Dir(path) == filepath.Join(top, below):
				out = append(out, "folder "+path)
			}
			return nil
		})
	}
	return out
}
