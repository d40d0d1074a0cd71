package image_test

import (
	"strings"
	"testing"
	"time"
)

// silence is long enough for an answer that would come.
const silence = time.Second

// manner is how a guest misbehaves and how it shows.
type manner struct {
	words string
	check func(t *testing.T, g *guest)
}

func TestGuestFallsSilent(t *testing.T) {
	misbehave(t, []manner{
		{"blixard.beat=500ms blixard.fault=dead-agent", func(_ *testing.T, g *guest) {
			g.waitConsole("beat 2")
			g.send(`{"execute":"guest-ping"}`)
			g.quiet(silence)
		}},
		{"blixard.beat=500ms blixard.fault=hang@1s", func(t *testing.T, g *guest) {
			g.waitConsole("fault hang")
			g.send(`{"execute":"guest-ping"}`)
			g.quiet(silence)
			if text := g.console(); !strings.HasSuffix(text, "fault hang\n") {
				t.Errorf("the console went on: %q", text)
			}
		}},
		{"blixard.fault=lockup@500ms", func(_ *testing.T, g *guest) {
			g.waitConsole("fault lockup")
			g.quiet(silence / 4)
			g.send(`{"execute":"guest-ping"}`)
			g.quiet(silence)
		}},
		{"blixard.beat=200ms blixard.fault=silent", func(t *testing.T, g *guest) {
			g.ask(`{"execute":"guest-ping"}`)
			g.quiet(silence)
			if text := g.console(); strings.Contains(text, "blixard") {
				t.Errorf("the console isn't silent: %q", text)
			}
		}},
	})
}

func TestGuestIsHostile(t *testing.T) {
	misbehave(t, []manner{
		{"blixard.fault=stubborn,escapes", func(t *testing.T, g *guest) {
			g.send(`{"execute":"guest-shutdown"}`)
			if got := g.ask(`{"execute":"guest-ping"}`); got != `{"return":{}}` {
				t.Errorf("after a shutdown that it ignores: %s", got)
			}
			g.waitConsole("\x1b]0;owned\x07")
			if got := g.ask(`{"execute":"guest-get-osinfo"}`); !strings.Contains(got, `\u001b]0;owned`) {
				t.Errorf("osinfo: %s", got)
			}
		}},
		{"blixard.fault=lying-agent,flood-console", func(t *testing.T, g *guest) {
			g.waitConsole(strings.Repeat("blixard: "+strings.Repeat("flood ", 40)+"\n", 50)[:4000])
			if got := g.ask(`{"execute":"guest-sync","arguments":{"id":5}}`); got != `{"return": 4711}` {
				t.Errorf("an honest answer: %s", got)
			}
		}},
		{"blixard.fault=flood-agent", func(t *testing.T, g *guest) {
			buf := make([]byte, 1<<20)
			if err := g.agent.SetReadDeadline(time.Now().Add(bootTime)); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < len(buf); {
				got, err := g.lines.Read(buf[n:])
				if err != nil {
					t.Fatalf("after %d bytes: %v", n, err)
				}
				n += got
			}
		}},
	})
}

func misbehave(t *testing.T, manners []manner) {
	t.Helper()
	skipRaced(t)
	for _, m := range manners {
		t.Run(m.words, func(t *testing.T) {
			t.Parallel()
			m.check(t, start(t, "128", m.words))
		})
	}
}

// skipRaced leaves a test to the run without the race detector: all that it
// proves happens in QEMU, which the detector doesn't see, and
// TestGuestServesUntilItIsPoweredOff goes through this code under it.
func skipRaced(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("SKIP: the race detector sees nothing of a guest")
	}
}
