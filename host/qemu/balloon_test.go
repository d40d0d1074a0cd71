package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/blixard/blixard/host"
	"github.com/blixard/blixard/vm"
)

// ballooned answers each command by its name; polled is what the polling
// interval was set to, in order.
func ballooned(t *testing.T, answers map[string][]string) (s host.Session, polled func() []int) {
	t.Helper()
	set := make(chan int, 16)
	s, _ = attachFake(t, func(in *bufio.Scanner, out io.WriteCloser) {
		for in.Scan() {
			var r struct {
				Execute   string
				ID        uint64
				Arguments struct{ Value int }
			}
			if json.Unmarshal(in.Bytes(), &r) != nil {
				return
			}
			if r.Execute == "qom-set" {
				set <- r.Arguments.Value
			}
			answer := `"return": {}`
			if left := answers[r.Execute]; len(left) > 0 {
				answer = left[0]
				if len(left) > 1 {
					answers[r.Execute] = left[1:]
				}
			}
			fmt.Fprintf(out, "{%s, \"id\": %d}\n", answer, r.ID)
		}
	})
	return s, func() (all []int) {
		for {
			select {
			case n := <-set:
				all = append(all, n)
			default:
				return all
			}
		}
	}
}

func TestAGuestIsAskedOfItsMemoryOnlyMeanwhile(t *testing.T) {
	s, polled := ballooned(t, map[string][]string{
		"query-balloon": {`"return": {"actual": 67108864}`},
		"qom-get": {
			`"return": {"last-update": 0, "stats": {"stat-free-memory": 18446744073709551615}}`,
			`"return": {"last-update": 0, "stats": {}}`,
			`"return": {"last-update": 5, "stats": {"stat-free-memory": 1048576, "stat-available-memory": 2097152}}`,
		},
	})
	got, err := s.Memory(deadline(t))
	want := host.GuestMemory{Left: 64 * vm.MiB, Free: vm.MiB, Available: 2 * vm.MiB}
	if err != nil || got != want {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	if all := polled(); len(all) != 2 || all[0] != 1 || all[1] != 0 {
		t.Errorf("the polling interval was set to %v, want 1, then 0", all)
	}
}

// What a guest says of its memory is bounded, and what it never said is nothing.
func TestAGuestMayLieAboutItsMemory(t *testing.T) {
	for _, stats := range []string{
		`{"stat-free-memory": 18446744073709551615, "stat-available-memory": -5}`,
		`{"stat-free-memory": 1e300, "stat-available-memory": 9223372036854775807}`,
		`{}`, `null`,
	} {
		s, _ := ballooned(t, map[string][]string{
			"query-balloon": {`"return": {"actual": 67108864}`},
			"qom-get":       {`"return": {"last-update": 1, "stats": {}}`, `"return": {"last-update": 2, "stats": ` + stats + `}`},
		})
		if got, err := s.Memory(deadline(t)); err != nil || got != (host.GuestMemory{Left: 64 * vm.MiB}) {
			t.Errorf("%s: %+v %v", stats, got, err)
		}
	}
}

func TestAMachineWithoutABalloonSaysSo(t *testing.T) {
	none := `"error": {"class": "DeviceNotActive", "desc": "No balloon device has been activated"}`
	s, _ := ballooned(t, map[string][]string{"query-balloon": {none}, "balloon": {none}})
	if _, err := s.Left(deadline(t)); host.KindOf(err) != host.Broken || !strings.Contains(err.Error(), "No balloon device") {
		t.Errorf("left: %v", err)
	}
	if err := s.Balloon(deadline(t), vm.MiB); host.KindOf(err) != host.Broken {
		t.Errorf("balloon: %v", err)
	}
	for _, bad := range []string{`"return": {}`, `"return": {"actual": -1}`, `"return": {"actual": "much"}`, `"return": []`} {
		s, _ := ballooned(t, map[string][]string{"query-balloon": {bad}})
		if left, err := s.Left(deadline(t)); err == nil {
			t.Errorf("%s was taken for %s", bad, left)
		}
	}
}

// The balloon is there on both kinds of machine that have devices, under the
// name by which its statistics are found.
func TestRealBalloons(t *testing.T) {
	g := start(t, PVHGuest(), needsACPI)
	s, _ := g.attach()
	if left, err := s.Left(deadline(t)); err != nil || left != 8*vm.MiB {
		t.Fatalf("left: %s %v", left, err)
	}
	if err := s.Balloon(deadline(t), 4*vm.MiB); err != nil { // this guest has no driver: nothing follows
		t.Fatal(err)
	}
	got, err := s.Memory(deadline(t))
	if err != nil || got != (host.GuestMemory{Left: 8 * vm.MiB}) {
		t.Errorf("memory: %+v %v", got, err)
	}
	if err := s.Balloon(deadline(t), 8*vm.MiB); err != nil {
		t.Error(err)
	}
}
