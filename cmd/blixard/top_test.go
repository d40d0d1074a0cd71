package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/blixard/blixard/messages/blixardv1"
)

// lookOf is what a fakeNode of that mood tells.
func lookOf(t *testing.T, mood string) look {
	t.Helper()
	c := &cli{terminal: &terminal{now: func() time.Time { return noon }}, socket: startNodeOf(t, mood)}
	l, err := c.lookAt(t.Context(), c.node())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func calmCLI() *cli { return &cli{terminal: &terminal{now: func() time.Time { return noon }}} }

func viewOf(t *testing.T, mood string) *topView {
	t.Helper()
	v := &topView{order: byCPU, interval: 2 * time.Second}
	v.take(lookOf(t, mood))
	return v
}

func press(v *topView, keys ...key) {
	for _, k := range keys {
		v.press(k)
	}
}

// Each screen is as testdata/top has it, and never wider or higher than the terminal.
func TestTopFitsTheTerminal(t *testing.T) {
	for _, one := range []struct {
		name, mood    string
		width, height int
		keys          []key
		lost          string
	}{
		{"80x24", busy, 80, 24, []key{"j"}, ""},
		{"120x40", busy, 120, 40, []key{"N", "G"}, ""},
		{"narrow", busy, 50, 12, []key{"m", "p"}, ""},
		{"tiny", busy, 32, 6, nil, ""},
		{"too-small", busy, 31, 5, nil, ""},
		{"filter", busy, 80, 24, []key{"/", "e", "v", "\u202e"}, ""},
		{"nothing-found", busy, 80, 24, []key{"/", "z", "z", keyEnter}, ""},
		{"help", busy, 80, 24, []key{"h"}, ""},
		{"overfull", overfull, 80, 24, []key{"c"}, ""},
		{"lost", busy, 80, 24, nil, "the daemon can't be reached: \x1b[2Jnobody listens"},
		{"unmeasured", booting, 80, 24, nil, ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			v := viewOf(t, one.mood)
			press(v, one.keys...)
			if one.lost != "" {
				v.lose(one.lost, noon.Add(-9*time.Second))
			}
			lines := calmCLI().draw(v, one.width, one.height)
			if len(lines) > one.height {
				t.Errorf("%d lines on a terminal of %d", len(lines), one.height)
			}
			for _, line := range lines {
				if utf8.RuneCountInString(line) > one.width {
					t.Errorf("a line has %d columns, %d are there: %q", utf8.RuneCountInString(line), one.width, line)
				}
				if strings.ContainsAny(line, "\x1b\u202e\n") {
					t.Errorf("a guest's byte moves the cursor: %q", line)
				}
			}
			golden(t, filepath.Join("testdata/top", one.name+".txt"), strings.Join(lines, "\n")+"\n")
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew): %v\ngot:\n%s\nwant:\n%s", file, err, got, want)
	}
}

// No size of a terminal makes the drawing fail or overflow.
func TestTopDrawsAtEverySize(t *testing.T) {
	v := viewOf(t, busy)
	for width := range 130 {
		for height := range 30 {
			lines := calmCLI().draw(v, width, height)
			if len(lines) > max(1, height) {
				t.Fatalf("%dx%d: %d lines", width, height, len(lines))
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > max(1, width) {
					t.Fatalf("%dx%d: %d columns: %q", width, height, n, line)
				}
			}
		}
	}
}

func TestTopColoursMoveNoColumn(t *testing.T) {
	v := viewOf(t, busy)
	press(v, "j")
	painted, bare := calmCLI(), calmCLI()
	painted.color = true
	strip := strings.NewReplacer(red, "", green, "", yellow, "", plain, "", strong, "", inverse, "")
	with, without := painted.draw(v, 80, 24), bare.draw(v, 80, 24)
	for i := range with {
		if strip.Replace(with[i]) != without[i] {
			t.Errorf("%q\n%q", with[i], without[i])
		}
	}
	if strings.Contains(strings.Join(without, ""), "\x1b") || !strings.Contains(strings.Join(with, ""), inverse+">web") {
		t.Error("colour where there is none, or none where it is")
	}
}

func namesIn(v *topView) string {
	var out []string
	for _, one := range v.rows() {
		out = append(out, one.GetName())
	}
	return strings.Join(out, " ")
}

func TestTopSortsByKey(t *testing.T) {
	v := viewOf(t, busy)
	for _, one := range []struct {
		key  key
		want string
	}{
		{"m", "evil web bad db"},
		{"c", "web evil bad db"},
		{"c", "db bad evil web"},
		{"c", "web evil bad db"},
		{"d", "web evil bad db"},
		{"n", "web evil bad db"},
		{"N", "bad db evil web"},
		{"N", "web evil db bad"},
		{"m", "evil web bad db"},
	} {
		press(v, one.key)
		if got := namesIn(v); got != one.want {
			t.Errorf("after %s: %s, want %s", one.key, got, one.want)
		}
	}
}

func TestTopChoosesAVMAndNotARow(t *testing.T) {
	v := viewOf(t, busy)
	v.visible = 2
	for _, one := range []struct {
		keys []key
		want string
	}{
		{[]key{"j"}, "web"},
		{[]key{"j", "N"}, "evil"},
		{[]key{keyUp, keyUp, keyUp}, "bad"},
		{[]key{"G"}, "web"},
		{[]key{keyPageUp}, "evil"},
		{[]key{keyHome}, "bad"},
		{[]key{keyDown, keyUnknown, "x"}, "db"},
		{[]key{keyEnd, keyPageDown}, "web"},
		{[]key{"/", "b", keyEnter, "g"}, "bad"},
	} {
		press(v, one.keys...)
		if v.chosen != one.want {
			t.Errorf("after %v: %s, want %s", one.keys, v.chosen, one.want)
		}
	}
	v.take(look{node: v.look.node})
	press(v, "j", keyPageDown, "G") // every VM is gone
	if lines := calmCLI().draw(v, 80, 24); len(lines) != 24 {
		t.Errorf("%d lines without a VM", len(lines))
	}
}

func TestTopScrollsToTheChosenVM(t *testing.T) {
	v := viewOf(t, busy)
	v.look.vms = nil
	for i := range 100 {
		v.look.vms = append(v.look.vms, &blixardv1.VM{Name: fmt.Sprintf("vm-%02d", i), Phase: "stopped"})
	}
	press(v, "N")
	for range 60 {
		press(v, "j")
		calmCLI().draw(v, 80, 24)
	}
	screen := strings.Join(calmCLI().draw(v, 80, 24), "\n")
	if v.chosen != "vm-59" || !strings.Contains(screen, ">vm-59") || strings.Contains(screen, "vm-00") {
		t.Errorf("chosen %s\n%s", v.chosen, screen)
	}
	v.look.vms = v.look.vms[:3]
	if screen := strings.Join(calmCLI().draw(v, 80, 24), "\n"); !strings.Contains(screen, "vm-00") {
		t.Errorf("the list became short, and its head is out of sight\n%s", screen)
	}
}

func TestTopFilters(t *testing.T) {
	v := viewOf(t, busy)
	for _, one := range []struct {
		keys         []key
		filter, rows string
	}{
		{[]key{"/", "r", "u", "n", "q"}, "runq", ""},
		{[]key{keyBackspace, keyEnter}, "run", "web evil"},
		{[]key{"/", "x", keyEscape}, "run", "web evil"},
		{[]key{keyEscape}, "", "web evil bad db"},
		{[]key{"/", keyBackspace, "q"}, "", "web evil bad db"},
	} {
		press(v, one.keys...)
		if v.filter != one.filter || namesIn(v) != one.rows {
			t.Errorf("after %v: filter %q, rows %s", one.keys, v.filter, namesIn(v))
		}
	}
	press(v, "/")
	for range 100 {
		press(v, "ä")
	}
	if n := utf8.RuneCountInString(v.filter); n != longestFilter {
		t.Errorf("the filter grew to %d", n)
	}
	if !v.press(keyInterrupt) {
		t.Error("Ctrl-C does not leave while a filter is typed")
	}
}

func TestKeysOfTerminals(t *testing.T) {
	for _, one := range []struct {
		in   []string
		want []key
	}{
		{[]string{"q"}, []key{"q"}},
		{[]string{"\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~"}, []key{keyUp, keyDown, keyPageUp, keyPageDown, keyHome, keyEnd}},
		{[]string{"\x1b", "[", "A"}, []key{keyUp}},
		{[]string{"\x1b[1;5B\x1b[5;2~"}, []key{keyDown, keyPageUp}},
		{[]string{"\x1b"}, []key{keyEscape}},
		{[]string{"\x1b["}, []key{keyUnknown}},
		{[]string{"\x1bq"}, []key{keyEscape, "q"}},
		{[]string{"\xc3", "\xa4"}, []key{"ä"}},
		{[]string{"\xff\x00\x7f\r\x03"}, []key{keyUnknown, keyUnknown, keyBackspace, keyEnter, keyInterrupt}},
		{[]string{"\x1b[" + strings.Repeat("1", 100)}, []key{keyUnknown}},
		{[]string{"\x1b[200~"}, []key{keyUnknown}},
	} {
		var r keyReader
		var got []key
		for _, part := range one.in {
			got = append(got, r.feed([]byte(part))...)
		}
		if got = append(got, r.flush()...); fmt.Sprint(got) != fmt.Sprint(one.want) {
			t.Errorf("%q: %v, want %v", one.in, got, one.want)
		}
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("\x1b[1;5A"), 3)
	f.Fuzz(func(t *testing.T, b []byte, at int) {
		var r keyReader
		at = max(0, min(at, len(b)))
		n := len(r.feed(b[:at])) + len(r.feed(b[at:]))
		if len(r.left) > longestSequence+1 || n > len(b) {
			t.Errorf("%d keys of %d bytes, %d are kept", n, len(b), len(r.left))
		}
	})
}
