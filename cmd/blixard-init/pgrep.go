package main

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// pgrep counts the processes of exactly that name, itself left out, as the
// guest-process check asks for. Like procps' it ends with 1 where there is none.
func pgrep(out io.Writer, args []string) int {
	if len(args) != 3 || args[0] != "-c" || args[1] != "-x" {
		_, _ = os.Stderr.WriteString("usage: pgrep -c -x NAME\n")
		return 2
	}
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is well formed
	count, self := 0, filepath.Join("/proc", strconv.Itoa(os.Getpid()), "comm")
	for _, path := range names {
		name, err := os.ReadFile(path)
		if err == nil && path != self && strings.TrimSuffix(string(name), "\n") == args[2] {
			count++
		}
	}
	_, _ = io.WriteString(out, strconv.Itoa(count)+"\n")
	if count == 0 {
		return 1
	}
	return 0
}
