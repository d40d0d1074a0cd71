package main

import (
	"os"
	"strings"
	"testing"
)

func TestEveryCommandHasAManualPage(t *testing.T) {
	root := rootCommand(&cli{terminal: newTerminal()})
	pages := manuals(root)
	for _, want := range []string{"blixard.1", "blixard-daemon.1", "blixard-vm.1", "blixard-vm-create.1", "blixard-node-status.1"} {
		page := pages[want]
		for _, part := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH SEE ALSO\n"} {
			if !strings.Contains(page, part) {
				t.Errorf("%s lacks %q", want, part)
			}
		}
	}
	if _, there := pages["blixard-docs.1"]; there {
		t.Error("a hidden command has a page")
	}
	for name, page := range pages {
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, ".") && !strings.ContainsAny(line[1:2], `STPnf\`) {
				t.Errorf("%s has text that roff takes for a request: %q", name, line)
			}
		}
	}
}

func TestTheFilesOfPeopleHaveManualPages(t *testing.T) {
	reference, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := fileManuals(string(reference))
	if err != nil {
		t.Fatal(err)
	}
	for page, says := range map[string]string{
		"blixard.spec.5": ".TP\n\\fBmemory\\fR\n", "blixard.yaml.5": ".TP\n\\fBsocket.group\\fR\n",
	} {
		if !strings.Contains(pages[page], says) {
			t.Errorf("%s lacks %q:\n%s", page, says, pages[page])
		}
	}
	if _, err := fileManuals("# A VM's spec\n"); err == nil {
		t.Error("a reference that lost a section makes pages all the same")
	}
}

func TestTextIsNeverARequest(t *testing.T) {
	var p manPage
	p.markdown("## head\n\n# no\n.TP of 'a' \\ `-x` [link](to.md)\n\n'quoted'\n```\n.code ~ ^\n```\n| k | d | m |\n|---|---|---|\n| `a\\|b` | 1 | means |")
	want := ".SH HEAD\n# no\n\\&.TP of \\(aqa\\(aq \\e \\fB\\-x\\fR link\n.PP\n\\(aqquoted\\(aq\n.PP\n.nf\n\\&.code \\(ti \\(ha\n.fi\n.TP\n\\fBa|b\\fR\nmeans. Default: 1.\n"
	if p.String() != want {
		t.Errorf("got %q\nwant %q", p.String(), want)
	}
}
