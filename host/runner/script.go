package runner

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// script is what the text of bin/microvm-run tells of the VMM that it becomes.
// Nothing beside it says which hypervisor a folder was built for.
type script struct {
	QEMU  bool
	QMP   string   // path of the QMP socket, as QEMU was given it; empty: none
	files []string // of QEMU's drives
	sizes []int64  // of the volumes that the script makes
	// readOnly has those of files that QEMU opens so.
	readOnly map[string]bool
	// bounded: all that the guest may write to is in files, and raw, so that its size is known.
	bounded bool
}

// maxScript bounds what is read of bin/microvm-run, which has a few KiB.
const maxScript = 1 << 20

var truncated = regexp.MustCompile(`\btruncate\s+-s\s+'?([0-9]+)([KMGT]?)`)

// readScript never fails for what it doesn't understand: such a runner is one
// of an unknown hypervisor.
func readScript(path string) (script, error) {
	file, err := os.Open(path)
	if err != nil {
		return script{}, fail("read "+path, err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxScript))
	if err != nil {
		return script{}, fail("read "+path, err)
	}
	return parseScript(string(text)), nil
}

func parseScript(text string) script {
	var s script
	for _, m := range truncated.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseInt(m[1], 10, 64)
		shift := 10 * (strings.Index("KMGT", m[2]) + 1)
		if m[2] == "" {
			shift = 0
		}
		if err == nil && n <= math.MaxInt64>>shift {
			s.sizes = append(s.sizes, n<<shift)
		}
	}
	command, plain := lastExec(strings.ReplaceAll(text, "\\\n", " "))
	for i, word := range command {
		if strings.HasPrefix(filepath.Base(word), "qemu-system-") {
			s.QEMU = true
			command = command[i+1:]
			break
		}
	}
	if s.QEMU {
		s.bounded = plain
		s.readArguments(command)
	}
	return s
}

// lastExec are the words of the last command that is run by exec; plain says
// that the shell puts nothing else into them.
func lastExec(text string) (words []string, plain bool) {
	lines := strings.Split(text, "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		line := strings.TrimSpace(lines[i])
		if strings.HasPrefix(line, "exec ") {
			return split(line)
		}
	}
	return nil, false
}

// split is the shell's, as far as quoted words go.
func split(line string) (words []string, plain bool) {
	var word strings.Builder
	began, plain := false, true
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, began = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if began {
				words = append(words, word.String())
			}
			word.Reset()
			began = false
		case quote != '\'' && c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
			began = true
		default:
			if quote != '\'' && (c == '$' || c == '`') {
				plain = false
			}
			word.WriteByte(c)
			began = true
		}
	}
	if began {
		words = append(words, word.String())
	}
	return words, plain && quote == 0
}

func (s *script) readArguments(arguments []string) {
	for i, option := range arguments {
		value := ""
		if i+1 < len(arguments) {
			value = arguments[i+1]
		}
		switch option {
		case "-qmp":
			s.QMP = socketOf(value)
		case "-drive":
			s.add(parseDrive(value))
		case "-blockdev", "-fsdev", "-virtfs", "-hda", "-hdb", "-hdc", "-hdd", "-readconfig":
			s.bounded = false // the guest may write to other files, or we can't tell to which
		}
	}
}

// socketOf is empty for what isn't a unix socket of a known path.
func socketOf(value string) string {
	path, ok := strings.CutPrefix(value, "unix:")
	path, _, _ = strings.Cut(path, ",")
	if !ok || strings.ContainsAny(path, "$`\x00") {
		return ""
	}
	return path
}

func (s *script) add(d drive) {
	s.files = append(s.files, d.file)
	s.bounded = s.bounded && (d.readOnly || d.raw && d.file != "")
	if !d.readOnly {
		return
	}
	if s.readOnly == nil {
		s.readOnly = map[string]bool{}
	}
	s.readOnly[d.file] = true
}

// drive is what the argument of -drive tells.
type drive struct {
	file          string
	raw, readOnly bool
}

func parseDrive(value string) drive {
	var d drive
	for option := range strings.SplitSeq(value, ",") {
		name, v, _ := strings.Cut(option, "=")
		switch name {
		case "file":
			d.file = v
		case "format":
			d.raw = v == "raw"
		case "read-only", "readonly":
			d.readOnly = v == "on"
		}
	}
	return d
}

// devices that a runner's VMM may open by path, where the machine has them.
var devices = []string{"/dev/kvm", "/dev/net/tun", "/dev/vhost-net", "/dev/vhost-vsock"}

// needs is what any runner's VMM may use: the host's network, where its taps
// and its user-mode NICs are, and code made as it runs, for QEMU falls back to
// that. Of what it writes by an absolute path, only QEMU's drives are known.
func (s *script) needs(work string) host.Needs {
	n := host.Needs{Network: true, JIT: true, Sockets: true, Devices: slices.Clone(devices), Writable: []string{work}}
	for _, name := range s.files {
		switch {
		case !filepath.IsAbs(name):
		case strings.HasPrefix(filepath.Clean(name), "/dev/"):
			n.Devices = append(n.Devices, filepath.Clean(name))
		case !s.readOnly[name]:
			n.Writable = append(n.Writable, filepath.Clean(name))
		}
	}
	return n
}

// maxFile is the limit on the size of the runner's files. The limit can't tell
// the console's log from a disk, so a large disk raises it for both; where the
// disks aren't known there is none, for a disk that is cut harms the guest.
func (s *script) maxFile(work string, log vm.Bytes) vm.Bytes {
	if !s.bounded {
		return 0
	}
	limit := log
	for _, n := range s.sizes {
		limit = max(limit, vm.Bytes(n))
	}
	for _, name := range s.files {
		if s.readOnly[name] {
			continue
		}
		if !filepath.IsAbs(name) {
			name = filepath.Join(work, name)
		}
		if at, err := os.Stat(name); err == nil && at.Mode().IsRegular() {
			limit = max(limit, vm.Bytes(at.Size()))
		}
	}
	return limit
}
