package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	mostReasons = 5   // of one test
	mostRunes   = 300 // of one reason
)

// said is the beginning of what t.Error, t.Fatal and t.Log write: "    file_test.go:7: ".
var said = regexp.MustCompile(`^ {4}([A-Za-z0-9_]+\.go):([0-9]+): `)

func (c *count) tellWhy(to io.Writer) {
	for _, one := range c.Why {
		fmt.Fprintln(to, "why:", one)
	}
}

// why is what the errors of a failed test said, and how a process ended under
// it. A test's log looks like an error: the source tells which it is.
func why(folder, test string, output []string) []string {
	var out []string
	open := false // whether the lines that follow belong to the last of out
	for _, text := range output {
		line := strings.TrimRight(text, "\n")
		at := said.FindStringSubmatch(line)
		switch {
		case at != nil:
			open = !logs(filepath.Join(folder, at[1]), at[2])
		case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
			open = true
		case strings.HasPrefix(line, "        ") && open && len(out) > 0:
			out[len(out)-1] += " " + strings.TrimSpace(line)
			continue
		default:
			open = false
		}
		if open && len(out) < mostReasons {
			out = append(out, test+": "+strings.TrimSpace(line))
		} else {
			open = false
		}
	}
	for i, one := range out {
		if all := []rune(one); len(all) > mostRunes {
			out[i] = string(all[:mostRunes]) + "…"
		}
	}
	return out
}

// logs says whether that line of a source only logs; what can't be read may be an error.
func logs(path, number string) bool {
	b, err := os.ReadFile(path)
	at, numberErr := strconv.Atoi(number)
	lines := strings.Split(string(b), "\n")
	if err != nil || numberErr != nil || at < 1 || at > len(lines) {
		return false
	}
	return strings.Contains(lines[at-1], ".Log(") || strings.Contains(lines[at-1], ".Logf(")
}

// folderOf is the folder of a package of this module: tally runs at its root.
func folderOf(pkg string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(pkg, info.Main.Path), "/")
}
