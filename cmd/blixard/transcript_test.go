package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew; then read the diff")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// TestTranscripts plays testdata/transcripts/*.txt: lines that begin with "$ "
// are commands, what follows is what they say. "! " is standard error, and
// "[n]" an exit code that isn't 0. "@ MOOD WIDTH" goes on with a node of another
// mood and a terminal of that width.
func TestTranscripts(t *testing.T) {
	nodes := map[string]string{"calm": startNode(t)}
	for _, mood := range []string{booting, booted, cutOff, damaged, flaky, wrong, busy, overfull} {
		nodes[mood] = startNodeOf(t, mood)
	}
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want), nodes)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s differs (go test -update writes it anew).\ngot:\n%s\nwant:\n%s", file, got, want)
			}
		})
	}
}

// play runs every command of a transcript; lines that begin with # stay.
func play(t *testing.T, text string, nodes map[string]string) string {
	t.Helper()
	t.Setenv("BLIXARD_SOCKET", nodes["calm"])
	var out strings.Builder
	width := 0
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "$ ")
		switch {
		case strings.HasPrefix(line, "# "):
			out.WriteString(line)
		case strings.HasPrefix(line, "@ "):
			out.WriteString(line)
			mood := ""
			if _, err := fmt.Sscanf(line, "@ %s %d", &mood, &width); err != nil || nodes[mood] == "" {
				t.Fatalf("%q names no mood and width: %v", line, err)
			}
			t.Setenv("BLIXARD_SOCKET", nodes[mood])
		case isCommand:
			code, stdout, stderr := runAt(words(command), "", false, width)
			fmt.Fprintf(&out, "$ %s\n%s", command, stdout)
			for e := range strings.Lines(stderr) {
				fmt.Fprintf(&out, "! %s", e)
			}
			if code != 0 {
				fmt.Fprintf(&out, "[%d]\n", code)
			}
		}
	}
	return out.String()
}

func runOnce(args []string, stdin string, color bool) (code int, stdout, stderr string) {
	return runAt(args, stdin, color, 0)
}

func runAt(args []string, stdin string, color bool, width int) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(args, &terminal{
		in: strings.NewReader(stdin), out: &out, err: &err, inFD: -1, color: color, width: width, outIs: width > 0, errIs: width > 0, now: func() time.Time { return noon },
	})
	return code, out.String(), err.String()
}

// words splits a command line; '…' keeps its spaces.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func TestColourIsForTerminalsOnly(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNode(t))
	_, plainText, _ := runOnce([]string{"vm", "list"}, "", false)
	_, painted, _ := runOnce([]string{"vm", "list"}, "", true)
	if strings.Contains(plainText, "\x1b") || !strings.Contains(painted, green+"running"+plain) {
		t.Fatalf("plain %q, painted %q", plainText, painted)
	}
	strip := strings.NewReplacer(red, "", green, "", yellow, "", plain, "")
	if strip.Replace(painted) != plainText {
		t.Errorf("colour moved the columns:\n%s\n%s", painted, plainText)
	}
}

func TestConsoleEndsAtTheKey(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNode(t))
	code, out, _ := runOnce([]string{"vm", "console", "web"}, "hello", false)
	if code != 0 || out != "HELLObye" {
		t.Errorf("end of input: code %d, out %q", code, out)
	}
	if code, _, errs := runOnce([]string{"vm", "console", "web"}, "x\x1dnever", false); code != 0 || !strings.Contains(errs, "left the console") {
		t.Errorf("Ctrl-]: code %d, err %q", code, errs)
	}
	if code, _, errs := runOnce([]string{"vm", "console", "nope"}, "", false); code != exitNoVM || strings.Contains(errs, "left") {
		t.Errorf("no such VM: code %d, err %q", code, errs)
	}
}

func TestSpecsFromStandardInputReachTheDaemon(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNode(t))
	code, out, errs := runOnce([]string{"vm", "create", "-f", "-", "--start"}, "name: one\n---\nname: web\n---\nname: two\n", false)
	if code != exitFailed || out != "one: preparing\ntwo: preparing\n" || !strings.Contains(errs, `there is a VM named "web" already`) {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
	code, out, errs = runOnce([]string{"apply", "-o", "json", "-f", "-"}, "name: one\nmemmory: 1GiB\n", false)
	if code != exitFailed || out != "" || !strings.Contains(errs, `"code":"invalid"`) || !strings.Contains(errs, "standard input:2:1") {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}

// Every command is explained with an example, and answers --help with exit code 0.
func TestEveryCommandIsExplained(t *testing.T) {
	root := rootCommand(&cli{terminal: &terminal{}})
	pages := reference(root)
	for _, cmd := range root.Commands() {
		all := append(cmd.Commands(), cmd)
		for _, one := range all {
			if one.Hidden || one.Name() == "help" {
				continue
			}
			if one.Short == "" || !one.HasSubCommands() && (one.Long == "" || one.Example == "") {
				t.Errorf("%s has no explanation or no example", one.CommandPath())
			}
			if !cmd.Hidden && cmd.Name() != "help" && !strings.Contains(pages[cmd.Name()+".md"], one.CommandPath()) {
				t.Errorf("%s is not in the reference", one.CommandPath())
			}
			if code, out, _ := runOnce(append(strings.Fields(one.CommandPath())[1:], "--help"), "", false); code != 0 || !strings.Contains(out, "Usage:") {
				t.Errorf("%s --help: code %d\n%s", one.CommandPath(), code, out)
			}
		}
	}
}
