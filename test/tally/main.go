// Command tally runs go test and counts: it prints go test's line for each
// package, the whole output of what failed, each skip with its reason, and at
// last in a few lines why the tests failed: whoever sees only the end sees that.
//
//	tally -into build/tally -name race -- -race ./vm ./policies
//	tally -into build/tally -total
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	into := flag.String("into", "build/tally", "folder of the counts, one file a name")
	name := flag.String("name", "tests", "name of this run")
	total := flag.Bool("total", false, "add up the counts of all runs, and run nothing")
	flag.Parse()
	var err error
	if *total {
		err = addUp(*into, os.Stdout)
	} else {
		err = run(context.Background(), *into, *name, flag.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		os.Exit(1)
	}
}

// run runs go test with the arguments; the error is go test's own, or that nothing ran.
func run(ctx context.Context, into, name string, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c := newCount(os.Stdout)
	readErr := c.read(out)
	err = cmd.Wait()
	c.tellWhy(os.Stdout)
	fmt.Printf("%s: %d passed, %d failed, %d skipped\n", name, c.Passed, c.Failed, c.Skipped)
	if keepErr := c.keep(filepath.Join(into, name+".json")); keepErr != nil {
		return keepErr
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case readErr != nil:
		return readErr
	case c.Passed+c.Skipped == 0:
		return fmt.Errorf("%s: no test ran", name)
	}
	return nil
}

// count is what one run came to.
type count struct {
	Passed, Failed, Skipped int
	Why                     []string `json:",omitempty"` // of each failed test what its errors said

	to     io.Writer
	output map[string][]string // of each test that is still open
	failed map[string]bool     // packages of which a test has failed
}

func newCount(to io.Writer) *count {
	return &count{to: to, output: map[string][]string{}, failed: map[string]bool{}}
}

// line is one line of go test -json.
type line struct {
	Action, Package, Test, Output, ImportPath string
}

func (c *count) read(from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			fmt.Fprintln(c.to, lines.Text()) // not every line is JSON where the build fails
			continue
		}
		c.take(l)
	}
	return lines.Err()
}

func (c *count) take(l line) {
	key := l.Package + " " + l.Test
	switch l.Action {
	case "build-output":
		fmt.Fprint(c.to, l.Output)
	case "output":
		c.output[key] = append(c.output[key], l.Output)
	case "pass", "fail", "skip":
		c.end(l, c.output[key])
		delete(c.output, key)
	}
}

func (c *count) end(l line, output []string) {
	switch {
	case l.Test == "":
		c.endPackage(l, output)
	case l.Action == "pass":
		c.Passed++
	case l.Action == "fail":
		c.Failed++
		c.failed[l.Package] = true
		c.Why = append(c.Why, why(folderOf(l.Package), l.Test, output)...)
		fmt.Fprint(c.to, strings.Join(output, ""))
	case l.Action == "skip":
		c.Skipped++
		fmt.Fprintf(c.to, "skipped: %s: %s\n", l.Test, reason(output))
	}
}

// endPackage prints go test's closing line of the package, and all of it where
// the package failed outside of its tests.
func (c *count) endPackage(l line, output []string) {
	if l.Action == "fail" && !c.failed[l.Package] {
		c.Failed++ // by a panic, a time-out or a build: no test of it says so
		c.Why = append(c.Why, l.Package+": failed outside of its tests, or with the whole process")
	}
	for key, said := range c.output { // a test that hung, or took the process with it, never ends
		if l.Action == "fail" && strings.HasPrefix(key, l.Package+" ") && key != l.Package+" " {
			c.Why = append(c.Why, why(folderOf(l.Package), strings.TrimPrefix(key, l.Package+" ")+" never ended", said)...)
			fmt.Fprint(c.to, strings.Join(said, ""))
			delete(c.output, key)
		}
	}
	for _, text := range output {
		closing := strings.HasPrefix(text, "ok ") || strings.HasPrefix(text, "FAIL") || strings.HasPrefix(text, "---")
		if closing || l.Action == "fail" {
			fmt.Fprint(c.to, text)
		}
	}
}

// reason is what the test said when it skipped itself: "    file_test.go:7: no QEMU".
func reason(output []string) string {
	var said []string
	for _, text := range output {
		text = strings.TrimSpace(text)
		if text != "" && !strings.HasPrefix(text, "=== ") && !strings.HasPrefix(text, "--- ") {
			said = append(said, text)
		}
	}
	return strings.Join(said, " ")
}

func (c *count) keep(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

func addUp(into string, to io.Writer) error {
	paths, err := filepath.Glob(filepath.Join(into, "*.json"))
	if err != nil {
		return err
	}
	var sum count
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var one count
		if err := json.Unmarshal(b, &one); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		sum.Passed += one.Passed
		sum.Failed += one.Failed
		sum.Skipped += one.Skipped
		sum.Why = append(sum.Why, one.Why...)
	}
	sum.tellWhy(to)
	fmt.Fprintf(to, "%d passed, %d failed, %d skipped\n", sum.Passed, sum.Failed, sum.Skipped)
	return nil
}
