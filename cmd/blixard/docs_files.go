package main

import (
	"fmt"
	"strings"
)

// filePages is the pages of section 5, made from the configuration reference:
// its first-level sections are one page each.
var filePages = map[string]struct{ file, short string }{
	"Configuration of the daemon": {"blixard.yaml", "configuration of the Blixard daemon"},
	"A VM's spec":                 {"blixard.spec", "description of a virtual machine for Blixard"},
}

// fileManuals turns the reference, in Markdown, into its pages by file name.
func fileManuals(reference string) (map[string]string, error) {
	pages := map[string]string{}
	for section := range strings.SplitSeq("\n"+reference, "\n# ") {
		head, body, _ := strings.Cut(section, "\n")
		is, known := filePages[head]
		if !known {
			continue
		}
		var p manPage
		p.title(is.file, 5)
		p.section("NAME")
		p.text(is.file + " \\- " + is.short)
		p.section("DESCRIPTION")
		p.markdown(body)
		p.section("SEE ALSO")
		p.text("\\fBblixard\\fR(1)")
		pages[is.file+".5"] = p.String()
	}
	if len(pages) != len(filePages) {
		return nil, fmt.Errorf("the configuration reference has %d of the %d sections that become pages", len(pages), len(filePages))
	}
	return pages, nil
}

// markdown knows what the reference uses: paragraphs, second-level heads, lists, tables and fences.
func (p *manPage) markdown(s string) {
	fenced, rows, broken, headed := false, 0, false, false // headed: right below a head, where no paragraph is begun
	for line := range strings.SplitSeq(strings.Trim(s, "\n"), "\n") {
		line = strings.TrimRight(line, " ")
		if !strings.HasPrefix(line, "|") {
			rows = 0
		}
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced = !fenced; fenced {
				fmt.Fprint(p, ".PP\n.nf\n")
			} else {
				fmt.Fprint(p, ".fi\n")
			}
		case fenced:
			p.line(or(roff(line), "\\&"))
		case line == "":
			broken = !headed
			continue
		case strings.HasPrefix(line, "## "):
			p.section(strings.ToUpper(roff(strings.TrimPrefix(line, "## "))))
			headed = true
			continue
		case strings.HasPrefix(line, "|"):
			if rows++; rows > 2 { // after the heads and the rule below them
				p.row(line)
			}
		case strings.HasPrefix(line, "- "):
			p.item("\\(bu", inline(strings.TrimPrefix(line, "- ")))
		default:
			if broken {
				fmt.Fprintln(p, ".PP")
			}
			p.text(inline(line))
		}
		broken, headed = false, false
	}
}

// row is one key: its name, default and meaning.
func (p *manPage) row(line string) {
	const pipe = "\x00"
	cells := strings.Split(strings.Trim(strings.ReplaceAll(line, "\\|", pipe), "|"), "|")
	for i := range cells {
		cells[i] = strings.ReplaceAll(strings.TrimSpace(cells[i]), pipe, "|")
	}
	term, means := inline(cells[0]), ""
	if len(cells) > 1 {
		means = inline(cells[len(cells)-1])
	}
	if len(cells) > 2 && cells[1] != "" {
		if means != "" {
			means = strings.TrimSuffix(means, ".") + ". "
		}
		means += "Default: " + inline(cells[1]) + "."
	}
	p.item(term, or(means, "\\&"))
}

// inline is Markdown within a line: code is bold, a link is its words.
func inline(s string) string {
	var out strings.Builder
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			out.WriteString(bold(part))
		} else {
			out.WriteString(roff(unlinked(part)))
		}
	}
	return out.String()
}

func unlinked(s string) string {
	for {
		before, rest, found := strings.Cut(s, "[")
		words, rest, closed := strings.Cut(rest, "](")
		_, after, ended := strings.Cut(rest, ")")
		if !found || !closed || !ended {
			return s
		}
		s = before + words + after
	}
}
