package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/blixard/blixard/messages/blixardv1"
)

func TestARepairAsksAPersonFirst(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNodeOf(t, damaged))
	for answer, want := range map[string]int{"y\n": exitDone, "Yes\n": exitDone, "n\n": exitFailed, "\n": exitFailed, "": exitFailed, strings.Repeat("y", 1000): exitFailed} {
		var out, errs bytes.Buffer
		code := run([]string{"node", "repair"}, &terminal{
			in: strings.NewReader(answer), inIs: true, inFD: -1, out: &out, err: &errs, now: func() time.Time { return noon },
		})
		if repaired := strings.Contains(out.String(), "Repaired:"); code != want || repaired != (want == exitDone) || !strings.Contains(errs.String(), "[y/N]") {
			t.Errorf("answer %.10q: code %d\n%s\n%s", answer, code, &out, &errs)
		}
	}
}

func TestAShutdownTellsEachEnd(t *testing.T) {
	var out bytes.Buffer
	c := &cli{terminal: &terminal{out: &out, err: &out, now: func() time.Time { return noon }}, socket: startNodeOf(t, booted)}
	told := map[string]bool{}
	if err := c.copyEnds(t.Context(), &blixardv1.WatchEventsRequest{After: new(uint64(3)), Follow: true}, told, noon.Add(-14*time.Second)); err != nil {
		t.Fatal(err)
	}
	const want = "evil: killed (it did not power off in 30s ^[[2J), after 14s\nevil: down, after 14s\nweb: down, after 14s\n"
	if out.String() != want || !told["web"] || !told["evil"] || len(told) != 2 {
		t.Errorf("got\n%swant\n%stold %v", &out, want, told)
	}
}

func TestSafeModeIsRedToTheLastOfItsLines(t *testing.T) {
	t.Setenv("BLIXARD_SOCKET", startNodeOf(t, damaged))
	_, plainText, _ := runAt([]string{"node", "status"}, "", false, 80)
	_, painted, _ := runAt([]string{"node", "status"}, "", true, 80)
	if strings.NewReplacer(red, "", green, "", yellow, "", plain, "").Replace(painted) != plainText {
		t.Errorf("colour moved the columns:\n%s\n%s", painted, plainText)
	}
	for line := range strings.Lines(painted) {
		if strings.Contains(line, "Daemon:") {
			return
		}
		if !strings.Contains(line, red) {
			t.Errorf("not red: %q", line)
		}
	}
}

func TestTextIsBrokenAtSpacesAndNeverInAWord(t *testing.T) {
	long := strings.Repeat("p/", 30)
	for _, c := range []struct {
		text          string
		indent, width int
		want          string
	}{
		{"one two three", 0, 0, "one two three"},
		{"Name: aaaaaaaaaaaaaaa bbbbbbbbbbbb", 6, 30, "Name: aaaaaaaaaaaaaaa\n      bbbbbbbbbbbb"},
		{"see " + long + " now", 0, 30, "see\n" + long + "\nnow"},
		{"ää öö üü " + strings.Repeat("ß", 22), 0, 26, "ää öö üü\n" + strings.Repeat("ß", 22)},
		{"too narrow to break it at all, the terminal does", 10, 20, "too narrow to break it at all, the terminal does"},
		{"", 4, 80, ""},
	} {
		if got := hang(c.text, c.indent, c.width); got != c.want {
			t.Errorf("%q: got\n%q, want\n%q", c.text, got, c.want)
		}
	}
}
