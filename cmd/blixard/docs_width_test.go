package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// manColumns is what a line that is kept as it is may have: man indents it by seven.
const manColumns = 80 - 7

// overstruck is how a formatter writes bold and underlined text.
var overstruck = regexp.MustCompile(".\x08")

// What is kept as it is must fit a terminal of 80 columns, in the help as on a page.
func TestNoExampleIsWiderThanATerminal(t *testing.T) {
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			if n := utf8.RuneCountInString(strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "  ")); n > manColumns {
				t.Errorf("%s: an example has %d columns, %d fit: %s", cmd.CommandPath(), n, manColumns, line)
			}
		}
		for line := range strings.Lines(cmd.Long) {
			most := 80
			if strings.HasPrefix(line, "  ") {
				most = manColumns + 2 // the page takes two off
			}
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > most {
				t.Errorf("%s: its text has %d columns, %d fit: %s", cmd.CommandPath(), n, most, line)
			}
		}
		for _, under := range shown(cmd) {
			look(under)
		}
	}
	look(rootCommand(&cli{terminal: newTerminal()}))
}

// The formatter's own word: no page has a line that a terminal would break.
func TestNoManualPageIsWiderThanATerminal(t *testing.T) {
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed, so no page is formatted: ", err)
	}
	out := t.TempDir()
	if err := writePages(out, manuals(rootCommand(&cli{terminal: newTerminal()}))); err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(out, "*.1"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages", err)
	}
	for _, page := range pages {
		text, err := exec.CommandContext(t.Context(), mandoc, "-Tascii", "-Owidth=80", page).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(page), err, text)
		}
		for line := range strings.Lines(string(text)) {
			if n := utf8.RuneCountInString(overstruck.ReplaceAllString(strings.TrimSuffix(line, "\n"), "")); n > 80 {
				t.Errorf("%s has a line of %d columns: %s", filepath.Base(page), n, line)
			}
		}
	}
}
