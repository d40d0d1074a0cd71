package systemd

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/blixard/blixard/vm"
)

// cgroups is where they are mounted.
type cgroups string

// peak is the most memory that a unit's cgroup held at once, as systemd itself
// tells only since version 256; 0 where nobody counts. The path has the unit's
// name in it, so what is found there is no other's.
func (c cgroups) peak(path string) vm.Bytes {
	if path == "" {
		return 0
	}
	for _, file := range []string{
		filepath.Join(string(c), path, "memory.peak"),                         // v2, Linux 5.19
		filepath.Join(string(c), "memory", path, "memory.max_usage_in_bytes"), // v1
		filepath.Join(string(c), "unified", path, "memory.peak"),              // v2 beside v1
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			return vm.Bytes(n)
		}
	}
	return 0
}
